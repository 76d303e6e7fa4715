package recipe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
)

// Each recipe in testdata/bad says in `# want:` comments what is reported for
// that line, several texts divided by " | ". Nothing else may be reported.
func TestBadRecipes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.pkr.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad recipes: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			o := Options{Root: ".", TemplateFile: file}
			want := wanted(t, file)
			if vars := strings.TrimSuffix(file, ".pkr.hcl") + ".pkrvars.hcl"; exists(vars) {
				o.VarFile = vars
				want = append(want, wanted(t, vars)...)
			}
			_, err := Load(o)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			match(t, e.Diagnostics, want)
			text := e.Error()
			for _, w := range want {
				if place := fmt.Sprintf("on %s line %d", w.file, w.line); !strings.Contains(text, place) {
					t.Errorf("the message has no %q:\n%s", place, text)
				}
			}
		})
	}
}

type want struct {
	file string
	line int
	text string
}

func wanted(t *testing.T, file string) []want {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var wants []want
	for i, line := range strings.Split(string(b), "\n") {
		if _, texts, ok := strings.Cut(line, "# want: "); ok {
			for text := range strings.SplitSeq(texts, " | ") {
				wants = append(wants, want{file, i + 1, text})
			}
		}
	}
	if len(wants) == 0 && strings.HasSuffix(file, ".pkr.hcl") {
		t.Fatalf("%s wants nothing", file)
	}
	return wants
}

// match pairs every diagnostic with one wanted text at its place.
func match(t *testing.T, diags hcl.Diagnostics, wants []want) {
	t.Helper()
	left := map[want]bool{}
	for _, w := range wants {
		left[w] = true
	}
	for _, d := range diags {
		if d.Subject == nil {
			t.Errorf("no place is given for: %s: %s", d.Summary, d.Detail)
			continue
		}
		found := false
		for w := range left {
			if w.file == d.Subject.Filename && w.line == d.Subject.Start.Line && strings.Contains(d.Summary+": "+d.Detail, w.text) {
				delete(left, w)
				found = true
				break
			}
		}
		if !found {
			t.Errorf("unwanted: %s:%d: %s: %s", d.Subject.Filename, d.Subject.Start.Line, d.Summary, d.Detail)
		}
	}
	for w := range left {
		t.Errorf("not reported: %s:%d: %s", w.file, w.line, w.text)
	}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
