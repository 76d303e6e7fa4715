package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

const repository = "../../.."

// Every line of a recipe means something: whatever is changed in it, either
// other things are done, or it is refused with its file and line. Only what is
// listed as Packer's own may leave the embedded engine's plan as it is, and then
// Packer has to get something else.
func TestEveryLineOfTheRecipeCounts(t *testing.T) {
	profiles, err := recipe.Profiles(filepath.Join(repository, "packer"))
	if err != nil {
		t.Fatal(err)
	}
	attributes, err := os.ReadFile("../recipe/testdata/attributes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, profile := range profiles {
		t.Run(profile, func(t *testing.T) {
			if testing.Short() && profile != "pios" {
				t.Skip("the quick tests change what is released; test:integration changes every profile")
			}
			t.Parallel()
			c := newCheckout(t, profile)
			before := c.mustPlan()
			changed := map[string]bool{}
			for _, m := range c.mutations() {
				changed[m.key] = true
				if problem := c.judge(m, before); problem != "" {
					t.Errorf("%s: %s", m.what, problem)
				}
			}
			for name := range strings.FieldsSeq(string(attributes)) {
				if !changed[name] {
					t.Errorf("%s is nowhere in the recipe, so nothing is known of it: add it to the extras", name)
				}
			}
		})
	}
}

// The test above finds what it looks for.
func TestALineThatMeansNothingIsFound(t *testing.T) {
	c := newCheckout(t, "lab")
	template := string(c.read(c.template))
	c.write(c.template, []byte(template+`
variable "spare" {
  type    = string
  default = "unused"
}
locals {
  spare = "unused"
}
`))
	before := c.mustPlan()
	var found []string
	for _, m := range c.mutations() {
		if strings.HasSuffix(m.key, ".spare") {
			if problem := c.judge(m, before); problem != "" {
				found = append(found, m.key)
			}
		}
	}
	slices.Sort(found)
	if want := []string{"locals.spare", "variable.spare"}; !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

// plans are what both engines do of a recipe, in a form to be compared.
type plans struct{ embedded, packer string }

// judge returns what is wrong with how the change of a line is taken, "" if
// nothing is.
func (c *checkout) judge(m mutation, before plans) string {
	after, err := c.plan(m)
	if refusal := new(recipe.Error); errors.As(err, &refusal) {
		return c.judgeRefusal(m, refusal)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("it is refused without file and line: %v", err)
	case m.packerOnly && after.embedded != before.embedded:
		return "it is said to be for Packer only, but the embedded engine does something else"
	case m.packerOnly && after.packer == before.packer:
		return "it is said to be for Packer only, but Packer gets the same"
	case !m.packerOnly && after.embedded == before.embedded:
		return "it is accepted and ignored"
	}
	return ""
}

func (c *checkout) judgeRefusal(m mutation, refusal *recipe.Error) string {
	for _, d := range refusal.Diagnostics {
		if d.Subject == nil || d.Subject.Start.Line == 0 || !strings.Contains(refusal.Error(), fmt.Sprintf("on %s line %d", d.Subject.Filename, d.Subject.Start.Line)) {
			return fmt.Sprintf("it is refused without file and line: %v", refusal)
		}
		// A value that no variable of this name may have says nothing about
		// whether it would be used.
		if m.madeUp && strings.Contains(d.Detail, "This is the rule of the variable") {
			return fmt.Sprintf("%s is no value for it: add one to otherValues", m.what)
		}
	}
	return ""
}

// checkout is a copy of what the recipe of a profile names.
type checkout struct {
	*testing.T
	root, profile     string
	template, varFile string
}

// extras are the attributes that the recipe may have and has not.
const extras = `
  provisioner "shell" {
    name            = "inline"
    inline          = ["true"]
    execute_command = "sh {{.Path}}"
  }
  provisioner "shell" {
    name    = "scripts"
    scripts = ["packer/scripts/07-cleanup.sh"]
  }
  provisioner "file" {
    name        = "sources"
    sources     = ["packer/scripts/lib.sh"]
    destination = "/opt/"
    direction   = "upload"
  }
`

func newCheckout(t *testing.T, profile string) *checkout {
	t.Helper()
	c := &checkout{
		T: t, root: t.TempDir(), profile: profile,
		template: "packer/cubeos.pkr.hcl", varFile: "packer/" + profile + ".pkrvars.hcl",
	}
	for _, dir := range []string{"packer", "configs", "firstboot", "skopeo"} {
		c.must(os.CopyFS(filepath.Join(c.root, dir), os.DirFS(filepath.Join(repository, dir))))
	}
	c.write(c.template, c.withExtras(c.read(c.template)))
	return c
}

func (c *checkout) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *checkout) read(name string) []byte {
	c.Helper()
	content, err := os.ReadFile(filepath.Join(c.root, name))
	c.must(err)
	return content
}

func (c *checkout) write(name string, content []byte) {
	c.Helper()
	c.must(os.WriteFile(filepath.Join(c.root, name), content, 0o644))
}

func (c *checkout) mustPlan() plans {
	c.Helper()
	p, err := c.plan(mutation{})
	c.must(err)
	return p
}

// plan changes the recipe, returns what would be done, and changes it back. What
// Packer would do is asked only where that counts.
func (c *checkout) plan(m mutation) (p plans, err error) {
	c.Helper()
	for name, content := range map[string][]byte{c.template: m.template, c.varFile: m.varFile} {
		if content != nil {
			before := c.read(name)
			c.write(name, content)
			defer c.write(name, before)
		}
	}
	version := "1.2.3"
	if m.version != "" {
		version = m.version
	}
	p.embedded, err = c.planOf(pipeline.EmbeddedEngine, version)
	if err == nil && (m.packerOnly || m.key == "") {
		p.packer, err = c.planOf(pipeline.PackerEngine, version)
	}
	return p, err
}

// planOf is everything a build with the engine does that a recipe decides, and
// Imager's list with its image in it.
func (c *checkout) planOf(engine, version string) (string, error) {
	b, plan, manifest, err := pipeline.Plan(pipeline.Options{
		Workspace: workspace.Workspace{Root: c.root}, Profile: c.profile, Version: version, Engine: engine,
	})
	if err != nil {
		return "", err
	}
	if err := release.List(b, manifest); err != nil {
		return "", err
	}
	list := filepath.Join(b.Dir, "rpi-imager.json")
	content, err := os.ReadFile(list)
	c.must(err)
	c.must(os.Remove(list))
	plan["list"] = string(content)
	if plan["places"], err = release.Places(b.Recipe); err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(plan, "", "  ")
	return string(text), err
}
