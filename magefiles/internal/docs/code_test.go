package docs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/yuin/goldmark/ast"
)

const repository = "../../.."

// snippet is a code span, or a line of a code block.
type snippet struct {
	document string
	line     int
	section  string // the heading that it is below
	text     string
	node     ast.Node // the code span; nil for a line of a code block
}

func (s snippet) String() string { return fmt.Sprintf("%s:%d: %s", s.document, s.line, s.text) }

// snippets are all of the documents but the changelog, which speaks of the past.
func snippets(t *testing.T) []snippet {
	t.Helper()
	documents, err := readAll(repository)
	if err != nil {
		t.Fatal(err)
	}
	var all []snippet
	for _, d := range documents {
		if d.name != "CHANGELOG.md" {
			all = append(all, d.snippets()...)
		}
	}
	if len(all) == 0 {
		t.Fatal("the documents hold no code")
	}
	return all
}

func (d document) snippets() []snippet {
	var all []snippet
	section := ""
	d.walk(func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Heading:
			section = plain(n, d.source)
		case *ast.CodeSpan:
			all = append(all, snippet{d.name, d.line(n.FirstChild().Pos()), section, plain(n, d.source), n})
		case *ast.FencedCodeBlock:
			for i := range n.Lines().Len() {
				at := n.Lines().At(i)
				all = append(all, snippet{d.name, d.line(at.Start), section, strings.TrimRight(string(at.Value(d.source)), "\n"), nil})
			}
		}
		return true
	})
	return all
}

// below returns the snippets of a document's section.
func below(all []snippet, document, section string) []snippet {
	var found []snippet
	for _, s := range all {
		if s.document == document && s.section == section {
			found = append(found, s)
		}
	}
	return found
}
