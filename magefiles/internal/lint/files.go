package lint

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/bitfield/script"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// shellScripts returns all shell scripts, by their ending or their first line.
func shellScripts(ctx context.Context) ([]string, error) {
	out, err := process.Output(ctx, "go", "tool", "shfmt", "-f", ".ci", "packer", "firstboot", "configs", "magefiles")
	if err != nil {
		return nil, fmt.Errorf("looking for shell scripts: %w", err)
	}
	return strings.Fields(out), nil
}

// recipeFiles returns all files in Packer's language, but for samples of mistakes
// in it.
func recipeFiles() ([]string, error) {
	var files []string
	for _, dir := range []string{"packer", "magefiles"} {
		found, err := script.FindFiles(dir).
			MatchRegexp(regexp.MustCompile(`\.hcl$`)).
			Reject("/testdata/").
			Slice()
		if err != nil {
			return nil, fmt.Errorf("looking for recipes in %s: %w", dir, err)
		}
		files = append(files, found...)
	}
	return files, nil
}
