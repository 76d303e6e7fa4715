package docs

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/magefile/mage/parse"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/scenario"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
)

// project is what a command may name.
type project struct {
	targets      map[string][]string // the flags of each
	profiles     []string
	provisioners []string
	services     services.List
}

func readProject(t *testing.T) project {
	t.Helper()
	p := project{targets: map[string][]string{}}
	files, err := filepath.Glob(filepath.Join(repository, "magefiles/*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		files[i] = filepath.Base(file)
	}
	info, err := parse.PrimaryPackage("go", filepath.Join(repository, "magefiles"), files, false)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string, f *parse.Function) {
		flags := []string{}
		for _, arg := range f.OptionalArgs() {
			flags = append(flags, arg.Name)
		}
		p.targets[strings.ToLower(name)] = flags
	}
	for _, f := range info.Funcs {
		add(f.TargetName(), f)
	}
	for name, f := range info.Aliases {
		add(name, f)
	}
	if p.services, err = services.Read(repository); err != nil {
		t.Fatal(err)
	}
	if p.profiles, err = recipe.Profiles(filepath.Join(repository, "packer")); err != nil {
		t.Fatal(err)
	}
	r, err := recipe.LoadProfile(repository, "lab", map[string]string{"version": "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	for _, each := range r.Provisioners {
		p.provisioners = append(p.provisioners, each.Name)
	}
	return p
}

var (
	aloneTarget = regexp.MustCompile(`^(test|verify):[a-z]+$`)
	aloneFlag   = regexp.MustCompile(`^-[a-z]+(=\S+)?$`)
	placeholder = regexp.MustCompile(`^([A-Z:,]+|…)$`)
)

// problems says what is wrong with the commands in a text.
func (p project) problems(text string) []string {
	text, _, _ = strings.Cut(text, " #")
	words := strings.Fields(text)
	if at := slices.Index(words, "mage"); at == 0 || at == 2 && words[0] == "go" && words[1] == "tool" {
		return p.command(words[at+1:])
	}
	switch {
	case aloneTarget.MatchString(text):
		return p.command(words)
	case aloneFlag.MatchString(text):
		return p.flag(text, slices.Concat(slices.Collect(maps.Values(p.targets))...), "any target")
	}
	return nil
}

func (p project) command(words []string) []string {
	var problems []string
	target, flags := "", []string(nil)
	for _, word := range words {
		if word == "-l" || word == "-h" { // mage's own
			continue
		}
		if strings.HasPrefix(word, "-") {
			problems = append(problems, p.flag(word, flags, target)...)
			continue
		}
		if _, known := p.targets[word]; !known && !placeholder.MatchString(word) {
			problems = append(problems, fmt.Sprintf("there is no target %s", word))
		}
		target, flags = word, p.targets[word]
	}
	return problems
}

func (p project) flag(word string, flags []string, of string) []string {
	name, value, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	if !slices.Contains(flags, name) {
		return []string{fmt.Sprintf("%s has no flag -%s", of, name)}
	}
	if value == "" || placeholder.MatchString(value) {
		return nil
	}
	switch name {
	case "profile":
		if !slices.Contains(p.profiles, value) {
			return []string{fmt.Sprintf("there is no profile %s", value)}
		}
	case "refresh":
		if value != "base" && !slices.Contains(p.provisioners, value) {
			return []string{fmt.Sprintf("there is no provisioner %s", value)}
		}
	case "scenario":
		if _, err := scenario.Named(value, p.services); err != nil {
			return []string{err.Error()}
		}
	}
	return nil
}

func TestCommandsExist(t *testing.T) {
	p := readProject(t)
	for _, s := range snippets(t) {
		for _, problem := range p.problems(s.text) {
			t.Errorf("%s: %s", s, problem)
		}
	}
}

func TestWrongCommandsAreFound(t *testing.T) {
	p := readProject(t)
	for text, want := range map[string]int{
		"mage": 0, "go tool mage -l": 0, "go tool mage -h build": 0, "mage TARGET": 0,
		"go tool mage build -profile=lab -refresh=docker   # mage nothing -x": 0,
		"mage boot -scenario=NAME": 0, "mage lint test:unit": 0, "verify:cache": 0, "-cache=DIR": 0, "-version=…": 0,
		"mage Boot":                    1,
		"go tool mage nothing":         1,
		"mage lint -profile=lab":       1,
		"mage build -profil=lab":       1,
		"mage build -profile=nosuch":   1,
		"mage build -refresh=nosuch":   1,
		"mage boot -scenario=nosuch,x": 1,
		"mage clean -layer -bas":       2,
		"verify:nothing":               1,
		"-nothing":                     1,
	} {
		if got := p.problems(text); len(got) != want {
			t.Errorf("%q: got %q, want %d problems", text, got, want)
		}
	}
}
