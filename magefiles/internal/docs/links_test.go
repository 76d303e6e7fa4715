package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckLinks(t *testing.T) {
	write := func(files map[string]string) string {
		root := t.TempDir()
		for name, content := range files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return root
	}
	other := "# Other\n\n## Two `engines`, one recipe\n\n## Twice\n\n## Twice\n\n" +
		"[up](../README.md#top) [dir](../docs) [code](../main.go)\n"

	good := write(map[string]string{
		"main.go": "", "docs/other.md": other,
		"README.md": "# Top\n\n[a](docs/other.md#two-engines-one-recipe) [b](docs/other.md#twice-1) [c](#top)\n" +
			"[d](https://example.org/none#such) <https://example.org> [e][ref] ![f](main.go)\n\n" +
			"```sh\n[not](a-link)\n```\n\n`[nor](this)`\n\n[ref]: docs/other.md#other \"title\"\n",
	})
	if err := CheckLinks(good); err != nil {
		t.Error(err)
	}

	bad := write(map[string]string{
		"main.go": "", "docs/other.md": other,
		"README.md": "# Top\n\n[a](docs/gone.md)\n\n* [b](docs/other.md#thrice)\n* ![c](gone.png)\n\n| x |\n|---|\n| [d](#bottom) |\n" +
			"\ntext\nand [e](../elsewhere.md) and [f](/docs/other.md)\n[g][ref] [h](main.go#L1)\n\n[ref]: Docs/other.md\n",
		"CHANGELOG.md": "[i](docs/other.md#twice-2)\n",
	})
	err := CheckLinks(bad)
	if err == nil {
		t.Fatal("no problem is found")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{
		"CHANGELOG.md:1: the link to docs/other.md#twice-2: docs/other.md has no heading with the anchor #twice-2",
		"README.md:3: the link to docs/gone.md: there is no docs/gone.md",
		"README.md:5: the link to docs/other.md#thrice: docs/other.md has no heading with the anchor #thrice",
		"README.md:6: the link to gone.png: there is no gone.png",
		"README.md:10: the link to #bottom: README.md has no heading with the anchor #bottom",
		"README.md:13: the link to ../elsewhere.md: it leads out of the checkout; give a path relative to this document",
		"README.md:13: the link to /docs/other.md: it leads out of the checkout; give a path relative to this document",
		"README.md:14: the link to Docs/other.md: there is no Docs/other.md",
		"README.md:14: the link to main.go#L1: main.go is none of the documents whose headings are known here",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if err := CheckLinks(t.TempDir()); err == nil {
		t.Error("a directory without documents has no problem")
	}
}

func TestAnchor(t *testing.T) {
	for heading, want := range map[string]string{
		"How an image comes to be":        "how-an-image-comes-to-be",
		"What is proven, and what is not": "what-is-proven-and-what-is-not",
		"`mage -l`: Über_alles (2.0)":     "mage--l-über_alles-20",
	} {
		if got := anchor(strings.ReplaceAll(heading, "`", "")); got != want {
			t.Errorf("%q: got %q, want %q", heading, got, want)
		}
	}
}
