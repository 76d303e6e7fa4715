package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const varFileSuffix = ".pkrvars.hcl"

// Profiles lists the profiles whose var-files lie in dir.
func Profiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the profiles: %w", err)
	}
	var names []string
	for _, e := range entries {
		// Packer loads NAME.auto.pkrvars.hcl by itself: that is no profile.
		if name, ok := strings.CutSuffix(e.Name(), varFileSuffix); ok && name != "" && !strings.Contains(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names) // the directory's order is that of whole file names
	return names, nil
}

// ProfileFile returns the var-file of a profile. The error for one that does
// not exist names those that do.
func ProfileFile(dir, profile string) (string, error) {
	names, err := Profiles(dir)
	if err != nil {
		return "", err
	}
	if !slices.Contains(names, profile) {
		return "", fmt.Errorf("unknown profile %q: %s has %s", profile, dir, strings.Join(names, ", "))
	}
	return filepath.Join(dir, profile+varFileSuffix), nil
}
