//go:build integration

package packer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// TestPackerResolvesTheRecipeAlike asks Packer's console for the value of every
// variable and of every attribute of every provisioner.
func TestPackerResolvesTheRecipeAlike(t *testing.T) {
	program := filepath.Join(t.TempDir(), "packer")
	compile(t, program, "github.com/hashicorp/packer")
	profiles, err := recipe.Profiles(repository + "/packer")
	if err != nil {
		t.Fatal(err)
	}
	for _, profile := range profiles {
		t.Run(profile, func(t *testing.T) {
			ours := dumped(t, profile)
			expressions := map[string]string{}
			for name := range ours.Variables {
				expressions["var."+name] = "var." + name
			}
			for i, attributes := range provisionerSources(t) {
				for name, source := range attributes {
					expressions[fmt.Sprintf("%d.%s", i, name)] = source
				}
			}
			theirs := console(t, program, profile, expressions)
			want := map[string]any{}
			for name, value := range ours.Variables {
				want["var."+name] = value
			}
			for i, p := range ours.Provisioners {
				for name, value := range p.attributes() {
					want[fmt.Sprintf("%d.%s", i, name)] = value
				}
			}
			if len(want) < 40 {
				t.Fatalf("only %d values were compared", len(want))
			}
			if diff := cmp.Diff(want, theirs); diff != "" {
				t.Errorf("- embedded, + Packer:\n%s", diff)
			}
		})
	}
}

// dump is what this test reads of a dumped recipe.
type dump struct {
	Variables    map[string]any `json:"variables"`
	Provisioners []provisioner  `json:"provisioners"`
}

type provisioner struct {
	Name        string   `json:"name"`
	Scripts     []string `json:"scripts"`
	Env         []string `json:"environment_vars"`
	Sources     []string `json:"sources"`
	Destination string   `json:"destination"`
}

func dumped(t *testing.T, profile string) dump {
	t.Helper()
	r, err := recipe.LoadProfile(repository, profile, map[string]string{"version": "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := r.Dump(&text); err != nil {
		t.Fatal(err)
	}
	var d dump
	if err := json.Unmarshal(text.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// attributes are those the provisioner has in the template, in one form for
// both: a single value as a list, paths cleaned, variables sorted and without
// those Packer adds.
func (p provisioner) attributes() map[string]any {
	attributes := map[string]any{"name": p.Name}
	if len(p.Scripts) > 0 {
		attributes["script"] = p.Scripts
	}
	if len(p.Sources) > 0 {
		attributes["source"], attributes["destination"] = p.Sources, p.Destination
	}
	own := slices.DeleteFunc(slices.Clone(p.Env), func(kv string) bool { return strings.HasPrefix(kv, "PACKER_BUILD") })
	if len(own) > 0 {
		attributes["environment_vars"] = own
	}
	return attributes
}

// provisionerSources returns the source of every attribute of every
// provisioner, on one line.
func provisionerSources(t *testing.T) []map[string]string {
	t.Helper()
	src, err := os.ReadFile(repository + "/packer/cubeos.pkr.hcl")
	if err != nil {
		t.Fatal(err)
	}
	file, diags := hclsyntax.ParseConfig(src, "template", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	var list []map[string]string
	for _, build := range file.Body.(*hclsyntax.Body).Blocks {
		if build.Type != "build" {
			continue
		}
		for _, p := range build.Body.Blocks {
			sources := map[string]string{}
			for name, attribute := range p.Body.Attributes {
				sources[name] = strings.ReplaceAll(string(attribute.Expr.Range().SliceBytes(src)), "\n", " ")
			}
			list = append(list, sources)
		}
	}
	return list
}

// console has Packer evaluate expressions, and brings the values into the form
// of provisioner.attributes.
func console(t *testing.T, program, profile string, expressions map[string]string) map[string]any {
	t.Helper()
	names := slices.Sorted(maps.Keys(expressions))
	var all []string
	for _, name := range names {
		all = append(all, expressions[name])
	}
	// Of several lines the console would answer the last one.
	input := strings.NewReader("jsonencode([" + strings.Join(all, ", ") + "])\n")
	var output bytes.Buffer
	err := process.Cmd{
		Argv:   []string{program, "console", "-var-file=packer/" + profile + ".pkrvars.hcl", "-var", "version=1.2.3", "packer/cubeos.pkr.hcl"},
		Dir:    repository,
		Env:    packerEnv(os.Environ()),
		Stdin:  input,
		Stdout: &output,
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var answers []any
	if err := json.Unmarshal(output.Bytes(), &answers); err != nil || len(answers) != len(names) {
		t.Fatalf("Packer answered %d of %d questions, %v:\n%s", len(answers), len(names), err, output.String())
	}
	values := map[string]any{}
	for i, name := range names {
		value := answers[i]
		_, attribute, _ := strings.Cut(name, ".")
		switch {
		case strings.HasPrefix(name, "var."):
		case attribute == "script" || attribute == "source":
			value = []string{clean(value.(string))}
		case attribute == "environment_vars":
			var list []string
			for _, kv := range value.([]any) {
				list = append(list, kv.(string))
			}
			slices.Sort(list)
			value = list
		}
		values[name] = value
	}
	return values
}

func clean(name string) string {
	if strings.HasSuffix(name, "/") {
		return path.Clean(name) + "/"
	}
	return path.Clean(name)
}
