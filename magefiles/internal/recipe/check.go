package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

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
