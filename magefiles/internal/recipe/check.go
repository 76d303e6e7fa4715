package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// checkBaseImage checks what no variable can check alone: an image that is made
// here has no URL before it is made, any other has one and a digest.
func (l *loader) checkBaseImage(r *Recipe) {
	if len(r.Source.FileURLs) != 1 {
		return
	}
	at := func(name string) hcl.Range {
		if v, ok := l.variables[name]; ok {
			return v.from
		}
		return r.Source.Range
	}
	bootstrap := l.is("base_image_kind", cty.StringVal("bootstrap"))
	url, sum := r.Source.FileURLs[0], r.Source.FileChecksum
	switch {
	case url == "" && !bootstrap:
		l.problem(at("base_image_url"), "Invalid base image", "A base image that is downloaded needs a URL.")
	case (url == "") != (sum == ""):
		l.problem(at("base_image_sha256"), "Invalid base image", "A URL and a SHA-256 of the base image belong together: the URL is %q, the SHA-256 %q.", url, sum)
	}
	if bootstrap && l.is("publishable", cty.True) {
		l.problem(at("publishable"), "Invalid value for variable", "An image made from a bootstrapped base image is for tests and can not be publishable.")
	}
}

// is says whether the variable is declared and has the value.
func (l *loader) is(name string, value cty.Value) bool {
	v, ok := l.variables[name]
	return ok && v.value.IsWhollyKnown() && v.value.RawEquals(value)
}

// CheckFiles reports every script and source that is missing or that Packer
// would use in another way than it looks. It passes over the paths in except,
// relative to the root or absolute: what a later stage is yet to make.
func (r *Recipe) CheckFiles(except ...string) error {
	var problems []Problem
	skip := func(path string) bool {
		return slices.ContainsFunc(except, func(e string) bool {
			return strings.TrimSuffix(absIn(r.root, e), "/") == strings.TrimSuffix(path, "/")
		})
	}
	for i, p := range r.Provisioners {
		check := func(path, list, single string, n int, f func(string) error) {
			if skip(path) {
				return
			}
			if err := f(path); err != nil {
				at := r.attrs[i].at(single)
				if _, ok := r.attrs[i].values[list]; ok && n < len(r.attrs[i].list(list)) {
					at = r.attrs[i].atElement(list, n)
				}
				problems = append(problems, Problem{at, "Bad " + single, fmt.Sprintf("%s: %s.", relTo(r.root, path), err)})
			}
		}
		for n, s := range p.Scripts {
			check(s, "scripts", "script", n, checkScript)
		}
		for n, s := range p.Sources {
			check(s, "sources", "source", n, checkSourcePath)
		}
	}
	return r.Refuse(problems...)
}

func checkScript(path string) error {
	b, err := os.ReadFile(path)
	switch {
	case err != nil:
		return cause(err)
	case !bytes.HasPrefix(b, []byte("#!")):
		return errors.New("it does not begin with #! and an interpreter, so what runs it would depend on the shell")
	case bytes.Contains(b, []byte("\r\n")):
		return errors.New("it has Windows line endings, which Packer would change")
	}
	return nil
}

func checkSourcePath(path string) error {
	slash := strings.HasSuffix(path, "/")
	info, err := os.Stat(strings.TrimSuffix(path, "/"))
	switch {
	case err != nil:
		return cause(err)
	case info.IsDir() && !slash:
		return errors.New("it is a directory: end it with a slash to copy its contents, since Packer would put the directory itself into the destination")
	case !info.IsDir() && slash:
		return errors.New("it is no directory, but ends in a slash")
	}
	return nil
}

// cause leaves out the path, which the message has already.
func cause(err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
