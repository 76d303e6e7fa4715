package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// distribution returns the ID in an os-release file, such as debian, and "" where
// there is no such file.
func distribution(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("asking for this machine's distribution: %w", err)
	}
	return distributionID(string(text)), nil
}

func distributionID(osRelease string) string {
	for line := range strings.Lines(osRelease) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "ID="); ok {
			return strings.Trim(id, `"'`)
		}
	}
	return ""
}
