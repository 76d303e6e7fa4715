package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
)

var (
	// A path of the checkout, where what a build makes is not.
	checkoutPath = regexp.MustCompile(`(?:^|[\s"'=])(?:\./)?((?:magefiles|packer|configs|firstboot|skopeo|docs|\.ci)/[\w.*/-]*)`)
	variablePart = regexp.MustCompile(`\b(NAME|PROFILE|NN)\b`)
)

// generated are paths that are there only once something has been done.
var generated = []string{"packer/builder.lock"}

// paths are those that a text names, as patterns.
func paths(text string) []string {
	var found []string
	for _, m := range checkoutPath.FindAllStringSubmatch(text, -1) {
		path := strings.TrimRight(strings.TrimSuffix(m[1], "/..."), "./")
		found = append(found, variablePart.ReplaceAllString(path, "*"))
	}
	return found
}

// match returns the files that a pattern of paths matches.
func match(pattern string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(repository, filepath.FromSlash(pattern)))
	if err == nil && len(found) == 0 && !slices.Contains(generated, pattern) {
		err = fmt.Errorf("there is no %s", pattern)
	}
	return found, err
}

func TestPathsExist(t *testing.T) {
	for _, s := range snippets(t) {
		for _, path := range paths(s.text) {
			if _, err := match(path); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
}

// TestNamesAreWhereTheyAreSaidToBe reads "`a`, `b` and `c` in `path`".
func TestNamesAreWhereTheyAreSaidToBe(t *testing.T) {
	documents, err := readAll(repository)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, d := range documents {
		for _, s := range d.snippets() {
			for _, name := range d.saidToBeIn(s) {
				seen++
				if err := contains(s.text, name); err != nil {
					t.Errorf("%s:%d: %v", s.document, s.line, err)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no document says where a name is")
	}
}

// saidToBeIn returns the names that the text before a path says to be in it.
func (d document) saidToBeIn(s snippet) []string {
	if s.node == nil || len(paths(s.text)) == 0 {
		return nil
	}
	var names []string
	joint := []string{" in "}
	for between := s.node.PreviousSibling(); between != nil; {
		text, isText := between.(*ast.Text)
		if !isText || !slices.Contains(joint, string(text.Segment.Value(d.source))) {
			break
		}
		span, isSpan := between.PreviousSibling().(*ast.CodeSpan)
		if !isSpan {
			break
		}
		names = append(names, plain(span, d.source))
		between, joint = span.PreviousSibling(), []string{", ", " and "}
	}
	return names
}

// contains returns an error if none of a pattern's files has the name as a word.
func contains(text, name string) error {
	word := regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(name) + `(\W|$)`)
	for _, pattern := range paths(text) {
		files, err := match(pattern)
		if err != nil {
			return err
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if word.Match(content) {
				return nil
			}
		}
	}
	return fmt.Errorf("%s is not in %s", name, text)
}

func TestWrongPathsAreFound(t *testing.T) {
	for text, want := range map[string]int{
		"magefiles/internal/docs/links.go":                   0,
		"go test ./magefiles/internal/docs/... -update":      0,
		"packer/cubeos.pkr.hcl + packer/PROFILE.pkrvars.hcl": 0,
		"build/packer/nothing":                               0,
		"/boot/docs/nothing":                                 0,
		"packer/builder.lock":                                0,
		"packer/gone.txt":                                    1,
		"skopeo/images.txt and skopeo/NAME.nothing":          1,
		"./magefiles/nothing/...":                            1,
	} {
		problems := 0
		for _, path := range paths(text) {
			if _, err := match(path); err != nil {
				problems++
			}
		}
		if problems != want {
			t.Errorf("%q: %d problems, want %d", text, problems, want)
		}
	}
	if contains("magefiles/internal/docs/links.go", "CheckLink") == nil {
		t.Error("a name that is not in a file is found there")
	}
	if err := contains("magefiles/internal/docs/links.go", "CheckLinks"); err != nil {
		t.Error(err)
	}
}
