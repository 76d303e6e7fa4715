// Package docs checks what the project's Markdown says against the project.
package docs

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// document is a Markdown file.
type document struct {
	name   string // relative to the root, with slashes
	source []byte
	tree   ast.Node
}

// CheckLinks returns every link in the Markdown files at root and below docs/
// that leads to a file or a heading that is not there. What other machines serve
// is not asked for.
func CheckLinks(root string) error {
	documents, err := readAll(root)
	if err != nil {
		return err
	}
	anchors := map[string]map[string]bool{}
	for _, d := range documents {
		anchors[d.name] = d.anchors()
	}
	var problems []error
	for _, d := range documents {
		for at, target := range d.links() {
			if err := check(root, d.name, target, anchors); err != nil {
				problems = append(problems, fmt.Errorf("%s:%d: the link to %s: %w", d.name, d.line(at), target, err))
			}
		}
	}
	return errors.Join(problems...)
}

func readAll(root string) ([]document, error) {
	var documents []document
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			source, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("reading a document: %w", err)
			}
			name, err := filepath.Rel(root, file)
			if err != nil {
				return nil, err
			}
			tree := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
			documents = append(documents, document{filepath.ToSlash(name), source, tree})
		}
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("%s has no Markdown files: run this in the checkout", root)
	}
	return documents, nil
}

// links yields where each link is, as an offset in the source, and its target.
func (d document) links() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		d.walk(func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Link:
				return yield(n.Pos(), string(n.Destination))
			case *ast.Image:
				return yield(n.Pos(), string(n.Destination))
			}
			return true
		})
	}
}

// walk calls visit with each node until it returns false.
func (d document) walk(visit func(ast.Node) bool) {
	_ = ast.Walk(d.tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if entering && !visit(n) {
			return ast.WalkStop, nil
		}
		return ast.WalkContinue, nil
	})
}

func (d document) line(at int) int { return 1 + strings.Count(string(d.source[:max(at, 0)]), "\n") }

// anchors are what GitHub makes of the headings.
func (d document) anchors() map[string]bool {
	anchors := map[string]bool{}
	d.walk(func(n ast.Node) bool {
		if h, ok := n.(*ast.Heading); ok {
			name := anchor(plain(h, d.source))
			unique := name
			for i := 1; anchors[unique]; i++ {
				unique = fmt.Sprintf("%s-%d", name, i)
			}
			anchors[unique] = true
		}
		return true
	})
	return anchors
}

// anchor keeps letters, digits, hyphens and underscores, in lower case, and makes
// a hyphen of every space.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// plain is the text of a node without its markup.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if t, ok := n.(*ast.Text); ok && entering {
			b.Write(t.Segment.Value(source))
			if t.SoftLineBreak() {
				b.WriteByte(' ')
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

func check(root, document, target string, anchors map[string]map[string]bool) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	if u.Scheme != "" || u.Host != "" {
		return nil
	}
	file := document
	if u.Path != "" {
		file = path.Join(path.Dir(document), u.Path)
		if path.IsAbs(u.Path) || file == ".." || strings.HasPrefix(file, "../") {
			return errors.New("it leads out of the checkout; give a path relative to this document")
		}
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(file))); err != nil {
			return fmt.Errorf("there is no %s", file)
		}
	}
	if u.Fragment == "" {
		return nil
	}
	of, ok := anchors[file]
	switch {
	case !ok:
		return fmt.Errorf("%s is none of the documents whose headings are known here", file)
	case !of[u.Fragment]:
		return fmt.Errorf("%s has no heading with the anchor #%s", file, u.Fragment)
	}
	return nil
}
