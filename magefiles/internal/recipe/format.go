package recipe

import (
	"bytes"
	"fmt"
	"os"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// CheckFormat reports the first line of file that `packer fmt` would change.
func CheckFormat(file string) error {
	src, want, err := formatted(file)
	if err != nil || bytes.Equal(src, want) {
		return err
	}
	is, should := bytes.Split(src, []byte("\n")), bytes.Split(want, []byte("\n"))
	line := 0
	for line < len(is)-1 && line < len(should)-1 && bytes.Equal(is[line], should[line]) {
		line++
	}
	return fmt.Errorf("%s:%d: not formatted as packer fmt does:\n  is:     %s\n  should: %s", file, line+1, is[line], should[line])
}

// Format rewrites file as `packer fmt` does and reports whether that changed it.
func Format(file string) (changed bool, err error) {
	src, want, err := formatted(file)
	if err != nil || bytes.Equal(src, want) {
		return false, err
	}
	if err := renameio.WriteFile(file, want, 0o644, renameio.WithExistingPermissions()); err != nil {
		return false, fmt.Errorf("formatting %s: %w", file, err)
	}
	return true, nil
}

func formatted(file string) (src, want []byte, err error) {
	if src, err = os.ReadFile(file); err != nil {
		return nil, nil, fmt.Errorf("checking the format of the recipe: %w", err)
	}
	parsed, diags := hclsyntax.ParseConfig(src, file, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, nil, newError(diags, map[string]*hcl.File{file: parsed})
	}
	return src, hclwrite.Format(src), nil
}
