package recipe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
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

// checkProfile refuses a var-file in dir that says it is another profile's, and
// one whose images would have the names of another profile's and replace them.
func (r *Recipe) checkProfile(dir, profile string) error {
	v := r.Variables()
	name, image := v.String("profile"), v.String("image_name")
	if err := v.Err(); err != nil {
		return err
	}
	var problems []Problem
	if name != profile {
		problems = append(problems, Problem{
			At:      r.VariableAt("profile"),
			Summary: "Another profile",
			Detail:  fmt.Sprintf("The profile is %q, but the name of its var-file says %q.", name, profile),
		})
	}
	others, err := Profiles(absIn(r.root, dir))
	if err != nil {
		return err
	}
	for _, other := range others {
		if other == profile {
			continue
		}
		otherImage, err := r.imageNameIn(filepath.Join(dir, other+varFileSuffix))
		if err != nil {
			return err
		}
		if otherImage == image {
			problems = append(problems, Problem{
				At:      r.VariableAt("image_name"),
				Summary: "Two profiles of one image name",
				Detail:  fmt.Sprintf("The images of the profile %q are called %q, too: the one would replace the other.", other, image),
			})
		}
	}
	return r.Refuse(problems...)
}

// imageNameIn returns the image_name that a var-file leaves the recipe with.
func (r *Recipe) imageNameIn(varFile string) (string, error) {
	l := &loader{root: r.root, files: r.files}
	body, err := l.parse(varFile)
	if err != nil {
		return "", err
	}
	value := r.variables["image_name"].fallback
	if attr, ok := body.Attributes["image_name"]; ok {
		var diags hcl.Diagnostics
		value, diags = attr.Expr.Value(nil)
		l.diags = append(l.diags, diags...)
	}
	if l.diags.HasErrors() {
		return "", l.err()
	}
	if value == cty.NilVal || value.IsNull() || value.Type() != cty.String {
		return "", nil // that profile is told when it is loaded itself
	}
	return value.AsString(), nil
}
