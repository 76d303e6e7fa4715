// Package recipe reads the Packer template and a var-file the way Packer does
// and gives the rest of the program their meaning: one image source, the
// provisioners in order, and the values of all variables.
//
// It understands the part of Packer's language that both engines can carry out
// alike. Everything else is refused by name, file and line.
package recipe

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Options say which recipe to load. They mirror
// `packer build -var-file=VarFile -var NAME=VALUE TemplateFile` run in Root.
// PKR_VAR_ environment variables, which Packer would read too, are not.
type Options struct {
	Root         string            // the directory relative paths start from; it is path.cwd
	TemplateFile string            // *.pkr.hcl; its directory is path.root
	VarFile      string            // *.pkrvars.hcl; "" for none
	Vars         map[string]string // set over the var-file's, as -var does
}

// Recipe is a template with every expression evaluated.
type Recipe struct {
	Source       Source
	Provisioners []Provisioner

	root      string
	variables map[string]*variable
	attrs     []attributes // of the provisioners
	files     map[string]*hcl.File
}

// LoadProfile loads packer/cubeos.pkr.hcl of the repository at root with
// packer/PROFILE.pkrvars.hcl.
func LoadProfile(root, profile string, vars map[string]string) (*Recipe, error) {
	const dir = "packer"
	varFile, err := ProfileFile(filepath.Join(root, dir), profile)
	if err != nil {
		return nil, err
	}
	r, err := Load(Options{
		Root:         root,
		TemplateFile: filepath.Join(dir, "cubeos.pkr.hcl"),
		VarFile:      filepath.Join(dir, filepath.Base(varFile)),
		Vars:         vars,
	})
	if err != nil {
		return nil, err
	}
	return r, r.checkProfile(dir, profile)
}

// Load reads, evaluates and checks a recipe. Its error is an *Error with every
// problem found, unless a file can not be read at all. Whether the scripts and
// files it names exist is not asked here: see CheckFiles.
func Load(o Options) (*Recipe, error) {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, fmt.Errorf("finding the directory of the recipe: %w", err)
	}
	l := &loader{root: root, files: map[string]*hcl.File{}}
	if err := l.checkNames(o); err != nil {
		return nil, err
	}
	template, err := l.parse(o.TemplateFile)
	if err != nil {
		return nil, err
	}
	varFile := &hclsyntax.Body{}
	if o.VarFile != "" {
		if varFile, err = l.parse(o.VarFile); err != nil {
			return nil, err
		}
	}
	if l.diags.HasErrors() {
		return nil, l.err()
	}
	r := l.load(template, varFile, o)
	if l.diags.HasErrors() {
		return nil, l.err()
	}
	return r, nil
}

// loader gathers what Load has found so far.
type loader struct {
	root      string
	files     map[string]*hcl.File
	diags     hcl.Diagnostics
	variables map[string]*variable
	locals    map[string]*local
	path      cty.Value

	undeclared map[string][]string // what var and local are asked for in vain
}

func (l *loader) checkNames(o Options) error {
	if !strings.HasSuffix(o.TemplateFile, ".pkr.hcl") {
		return fmt.Errorf("the recipe %q is no Packer template: its name has to end in .pkr.hcl", o.TemplateFile)
	}
	if o.VarFile != "" && !strings.HasSuffix(o.VarFile, ".pkrvars.hcl") {
		return fmt.Errorf("the var-file %q has to end in .pkrvars.hcl", o.VarFile)
	}
	return nil
}

// parse reads one file. Problems in its syntax are kept; they do not stop the
// other file from being read.
func (l *loader) parse(name string) (*hclsyntax.Body, error) {
	src, err := os.ReadFile(l.abs(name))
	if err != nil {
		return nil, fmt.Errorf("reading the recipe: %w", err)
	}
	shown := l.rel(l.abs(name))
	file, diags := hclsyntax.ParseConfig(src, shown, hcl.InitialPos)
	l.files[shown] = file
	l.diags = append(l.diags, diags...)
	return file.Body.(*hclsyntax.Body), nil
}

func (l *loader) load(template, varFile *hclsyntax.Body, o Options) *Recipe {
	l.path = cty.ObjectVal(map[string]cty.Value{
		"cwd":  cty.StringVal(l.root),
		"root": cty.StringVal(filepath.Dir(l.rel(l.abs(o.TemplateFile)))),
	})
	content := l.topLevel(template)
	l.declareVariables(content)
	l.assignFromFile(varFile)
	l.assignFromArguments(o.Vars)
	l.validateVariables()
	l.checkPublishing()
	l.declareLocals(content)
	l.checkReferences(template)
	l.evaluateLocals()

	r := &Recipe{root: l.root, variables: l.variables, files: l.files}
	source := l.decodeSource(content)
	if source != nil {
		r.Source = *source
	}
	l.decodeBuild(content, source, r)
	return r
}

var topLevelSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "locals"},
	{Type: "local", LabelNames: []string{"name"}},
	{Type: "source", LabelNames: []string{"type", "name"}},
	{Type: "build"},
	// Packer's, but not ours:
	{Type: "packer"},
	{Type: "variables"},
	{Type: "data", LabelNames: []string{"type", "name"}},
	{Type: "communicator", LabelNames: []string{"type", "name"}},
	{Type: "hcp_packer_registry"},
}}

func (l *loader) topLevel(body hcl.Body) *hcl.BodyContent {
	content, diags := body.Content(topLevelSchema)
	l.diags = append(l.diags, diags...)
	for _, b := range content.Blocks {
		switch b.Type {
		case "packer":
			l.unsupported(b.DefRange, `The "packer" block`, "The builder's container brings the arm plugin along, so there is nothing to require.")
		case "variables":
			l.unsupported(b.DefRange, `The "variables" block`, `Declare each variable with a "variable" block and its type.`)
		case "data", "communicator", "hcp_packer_registry":
			l.unsupported(b.DefRange, fmt.Sprintf("The %q block", b.Type), "")
		}
	}
	return content
}

// context is what expressions may refer to; more adds to it.
func (l *loader) context(more map[string]cty.Value) *hcl.EvalContext {
	vars, locals := map[string]cty.Value{}, map[string]cty.Value{}
	for name, v := range l.variables {
		vars[name] = v.value
	}
	for name, loc := range l.locals {
		locals[name] = loc.value
	}
	for _, name := range l.undeclared["var"] {
		vars[name] = cty.DynamicVal
	}
	for _, name := range l.undeclared["local"] {
		locals[name] = cty.DynamicVal
	}
	ctx := &hcl.EvalContext{
		Functions: functions(),
		Variables: map[string]cty.Value{
			"var":   cty.ObjectVal(vars),
			"local": cty.ObjectVal(locals),
			"path":  l.path,
		},
	}
	maps.Copy(ctx.Variables, more)
	return ctx
}

// abs is where Packer, started in the root directory, would look for name.
func (l *loader) abs(name string) string { return absIn(l.root, name) }

// rel is how name is shown: relative to the root where it lies below it.
func (l *loader) rel(name string) string { return relTo(l.root, name) }

// absIn keeps a slash at the end, because to Packer it means the contents of a
// directory.
func absIn(root, name string) string {
	slash := strings.HasSuffix(name, "/")
	if !filepath.IsAbs(name) {
		name = filepath.Join(root, name)
	}
	if name = filepath.Clean(name); slash && name != "/" {
		name += "/"
	}
	return name
}

func relTo(root, name string) string {
	rel, err := filepath.Rel(root, name)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return name
	}
	if strings.HasSuffix(name, "/") {
		rel += "/"
	}
	return rel
}
