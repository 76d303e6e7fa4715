package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadmeIsShort counts as `wc -w` does.
func TestReadmeIsShort(t *testing.T) {
	const limit = 900
	b, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(string(b))); n > limit {
		t.Errorf("README.md has %d words, more than %d: move what not every user needs to docs/", n, limit)
	}
}

func TestEveryPageIsLinkedFromTheReadme(t *testing.T) {
	documents, err := readAll(repository)
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{"README.md": true}
	for _, d := range documents {
		if d.name == "README.md" {
			for _, target := range d.links() {
				linked[target] = true
			}
		}
	}
	for _, d := range documents {
		if !linked[d.name] {
			t.Errorf("README.md has no link to %s", d.name)
		}
	}
}

func TestEveryPackageIsDescribed(t *testing.T) {
	all := snippets(t)
	var described []string
	name := regexp.MustCompile(`^[a-z]+(/[a-z]+)*$`)
	for _, s := range below(all, "docs/architecture.md", "Packages") {
		if name.MatchString(s.text) {
			described = append(described, s.text)
		}
	}
	slices.Sort(described)
	have := packages(t)
	if diff := cmp.Diff(have, described); diff != "" {
		t.Errorf("packages in magefiles/internal (-), in docs/architecture.md (+):\n%s", diff)
	}

	inPicture := regexp.MustCompile(`\b(?:source|chroot|release|boottest|sys)/[a-z]+|\bbuild/(?:embedded|packer)\b`)
	seen := 0
	for _, s := range below(all, "docs/architecture.md", "How an image comes to be") {
		for _, found := range inPicture.FindAllString(s.text, -1) {
			seen++
			if !slices.Contains(have, found) {
				t.Errorf("%s: there is no package %s", s, found)
			}
		}
	}
	if seen == 0 {
		t.Error("the picture in docs/architecture.md names no packages")
	}
}

// packages are the directories with Go files below magefiles/internal, but for
// those of a package's tests, such as build/buildtest.
func packages(t *testing.T) []string {
	t.Helper()
	root := filepath.Join(repository, "magefiles/internal")
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || path == root {
			return err
		}
		if entry.Name() == "testdata" || entry.Name() == filepath.Base(filepath.Dir(path))+"test" {
			return fs.SkipDir
		}
		files, err := filepath.Glob(filepath.Join(path, "*.go"))
		if err != nil || len(files) == 0 {
			return err
		}
		name, err := filepath.Rel(root, path)
		found = append(found, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// TestEveryWordOfTheGlossaryIsUsed wants a word to leave with its last use.
func TestEveryWordOfTheGlossaryIsUsed(t *testing.T) {
	documents, err := readAll(repository)
	if err != nil {
		t.Fatal(err)
	}
	var glossary, others string
	for _, d := range documents {
		if d.name == "docs/glossary.md" {
			glossary = string(d.source)
		} else {
			others += strings.ToLower(string(d.source))
		}
	}
	row := regexp.MustCompile(`(?m)^\| ([a-z][a-z -]*) \|`)
	rows := row.FindAllStringSubmatch(glossary, -1)
	if len(rows) == 0 {
		t.Fatal("docs/glossary.md has no rows")
	}
	for _, m := range rows {
		if word := m[1]; word != "word" && !strings.Contains(others, word) {
			t.Errorf("docs/glossary.md explains %q, which no other page uses", word)
		}
	}
}
