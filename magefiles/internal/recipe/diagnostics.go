package recipe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Error is everything that is wrong with a recipe, in the order of its files.
type Error struct {
	Diagnostics hcl.Diagnostics
	files       map[string]*hcl.File
}

// Error shows each problem with its file, line and source.
func (e *Error) Error() string {
	var b strings.Builder
	count := "a problem"
	if n := len(e.Diagnostics); n > 1 {
		count = fmt.Sprintf("%d problems", n)
	}
	fmt.Fprintf(&b, "the recipe has %s:\n\n", count)
	// Writing to a strings.Builder can not fail.
	_ = hcl.NewDiagnosticTextWriter(&b, e.files, 0, false).WriteDiagnostics(e.Diagnostics)
	return strings.TrimRight(b.String(), "\n")
}

// err makes the diagnostics so far into an *Error.
func (l *loader) err() error { return newError(l.diags, l.files) }

// Problem is something in a recipe that can not be carried out.
type Problem struct {
	At      hcl.Range
	Summary string
	Detail  string
}

// Refuse returns an *Error that shows the problems with their file and line, nil
// if there are none.
func (r *Recipe) Refuse(problems ...Problem) error {
	if len(problems) == 0 {
		return nil
	}
	var diags hcl.Diagnostics
	for _, p := range problems {
		diags = append(diags, diagnostic(p.At, p.Summary, p.Detail))
	}
	return newError(diags, r.files)
}

func newError(diags hcl.Diagnostics, files map[string]*hcl.File) *Error {
	slices.SortStableFunc(diags, func(a, b *hcl.Diagnostic) int {
		if a.Subject == nil || b.Subject == nil {
			return cmp.Compare(btoi(a.Subject != nil), btoi(b.Subject != nil))
		}
		return cmp.Or(
			cmp.Compare(a.Subject.Filename, b.Subject.Filename),
			cmp.Compare(a.Subject.Start.Byte, b.Subject.Start.Byte),
		)
	})
	return &Error{Diagnostics: diags, files: files}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// problem adds a diagnostic at r.
func (l *loader) problem(r hcl.Range, summary, format string, args ...any) {
	l.diags = append(l.diags, diagnostic(r, summary, fmt.Sprintf(format, args...)))
}

// unsupported refuses something that Packer has and this program has not.
func (l *loader) unsupported(r hcl.Range, what, why string) {
	detail := what + " is part of Packer's language, but not of the part that both engines carry out alike."
	if why != "" {
		detail += " " + why
	}
	l.diags = append(l.diags, diagnostic(r, "Not supported", detail))
}

func diagnostic(r hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &r}
}
