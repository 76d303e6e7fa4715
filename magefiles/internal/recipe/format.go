package recipe

import (
	"bytes"
	"fmt"
	"os"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// CheckFormat reports the first line of file that `packer fmt` would change.
func CheckFormat(file string) error {
	src, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("checking the format of the recipe: %w", err)
	}
	parsed, diags := hclsyntax.ParseConfig(src, file, hcl.InitialPos)
	if diags.HasErrors() {
		return newError(diags, map[string]*hcl.File{file: parsed})
	}
	want := hclwrite.Format(src)
	if bytes.Equal(src, want) {
		return nil
	}
	is, should := bytes.Split(src, []byte("\n")), bytes.Split(want, []byte("\n"))
	line := 0
	for line < len(is)-1 && line < len(should)-1 && bytes.Equal(is[line], should[line]) {
		line++
	}
	return fmt.Errorf("%s:%d: not formatted as packer fmt does:\n  is:     %s\n  should: %s", file, line+1, is[line], should[line])
}
