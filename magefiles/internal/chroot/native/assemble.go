package native

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Where the loader and the libraries are in the chroot. The loader looks for
// libraries where libDirs says; each replacement has the length of what it
// replaces.
const (
	ownDir = "native-assist"
	loader = "/" + ownDir + "/ld.so"
	multi  = "usr/lib/x86_64-linux-gnu"
)

func libDirs() map[string]string {
	return map[string]string{
		"\x00/lib/x86_64-linux-gnu/\x00":     "\x00/" + ownDir + "/lib////\x00",
		"\x00/usr/lib/x86_64-linux-gnu/\x00": "\x00/" + ownDir + "/lib////////\x00",
	}
}

// assemble puts the native programs of an extracted Debian into the draft's
// tree, and what they are into its notes.
func assemble(ctx context.Context, from string, d layer.Draft) error {
	versions, err := extracted(from)
	if err != nil {
		return err
	}
	packages := map[string]contents{}
	for _, t := range tools() {
		c, err := t.copyPackage(ctx, from, d.Tree)
		if err != nil {
			return err
		}
		c.Version = versions[t.pkg]
		packages[t.pkg] = c
	}
	raw, err := json.MarshalIndent(packages, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(d.Notes, notesFile), raw, 0o644), assembleLibraries(from, d.Tree))
}

func (t tool) copyPackage(ctx context.Context, from, to string) (contents, error) {
	c := contents{Programs: map[string]string{}}
	paths, err := t.programs(ctx, from)
	if err != nil {
		return c, err
	}
	for _, path := range paths {
		target, ok, err := t.copyProgram(from, path, to)
		if err != nil {
			return c, err
		}
		if ok {
			c.Programs[path] = target
		}
	}
	for _, dir := range t.extra {
		extra, err := t.copyDir(from, dir, to)
		if err != nil {
			return c, err
		}
		c.Extra = append(c.Extra, extra...)
	}
	return c, nil
}

// programs lists the package's programs that are to be replaced.
func (t tool) programs(ctx context.Context, tree string) ([]string, error) {
	if t.only != nil {
		return t.only, nil
	}
	all, err := programsOf(ctx, t.pkg, tree)
	return slices.DeleteFunc(all, func(path string) bool { return slices.Contains(t.except, path) }), err
}

// copyProgram copies a native program and reports whether it is one. A link, of
// which it returns the target, becomes a program of its own if it was asked for;
// otherwise it is only a name of another program of the package.
func (t tool) copyProgram(from, path, to string) (target string, ok bool, err error) {
	source := path
	if target, err = os.Readlink(filepath.Join(from, path)); err == nil {
		if t.only == nil {
			return target, false, nil
		}
		source = filepath.Join(filepath.Dir(path), target)
	}
	ok, err = t.copy(from, source, to, path)
	return target, ok, err
}

// programsOf lists the programs of a package by its archive.
func programsOf(ctx context.Context, pkg, tree string) ([]string, error) {
	archive, err := filepath.Glob(filepath.Join(tree, debian.ArchivesDir, pkg+"_*.deb"))
	if err != nil {
		return nil, err
	}
	if len(archive) != 1 {
		return nil, fmt.Errorf("found %d archives of the package %s, want one", len(archive), pkg)
	}
	list, err := process.Output(ctx, "sh", "-c", `dpkg-deb --fsys-tarfile "$1" | tar --list`, "sh", archive[0])
	return parsePrograms(list), err
}

// parsePrograms picks the programs from tar's list of a package's files.
func parsePrograms(list string) []string {
	var found []string
	for path := range strings.Lines(list) {
		path = strings.TrimPrefix(strings.TrimSpace(path), "./")
		for _, dir := range []string{"bin/", "sbin/"} {
			if strings.HasPrefix(path, dir) { // before usr-merge
				path = "usr/" + path
			}
		}
		if (strings.HasPrefix(path, "usr/bin/") || strings.HasPrefix(path, "usr/sbin/")) && !strings.HasSuffix(path, "/") {
			found = append(found, path)
		}
	}
	return found
}

// copy copies a file if it is a native program, and reports whether it is one.
func (t tool) copy(from, source, to, path string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(from, source))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !isNative(data[:min(len(data), elfHead)]) {
		return false, err
	}
	if t.arch {
		if data, err = patchArchitecture(path, data); err != nil {
			return false, err
		}
	}
	if data, err = patchInterpreter(data); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, place(to, path, data)
}

// copyDir copies a directory of files that a program loads. In directories that
// both architectures share, what is not compiled is the same on both.
func (t tool) copyDir(from, dir, to string) ([]string, error) {
	var copied []string
	err := filepath.WalkDir(filepath.Join(from, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		ok, err := t.copy(from, rel, to, rel)
		if !ok && err == nil && strings.HasPrefix(rel, multi+"/") {
			var data []byte
			if data, err = os.ReadFile(path); err == nil {
				ok, err = true, place(to, rel, data)
			}
		}
		if ok {
			copied = append(copied, rel)
		}
		return err
	})
	return copied, err
}

// assembleLibraries puts the shared libraries and the dynamic loader into their
// directory.
func assembleLibraries(from, to string) error {
	entries, err := os.ReadDir(filepath.Join(from, multi))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, multi, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link to what only development packages have
		}
		if err != nil {
			return err
		}
		if err := place(to, filepath.Join(ownDir, "lib", e.Name()), data); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(filepath.Join(from, multi, "ld-linux-x86-64.so.2"))
	if err != nil {
		return err
	}
	for old, own := range libDirs() {
		if !bytes.Contains(data, []byte(old)) {
			return fmt.Errorf("the dynamic loader does not name %q any more", strings.Trim(old, "\x00"))
		}
		// Neighbours share their zero byte.
		for bytes.Contains(data, []byte(old)) {
			data = bytes.ReplaceAll(data, []byte(old), []byte(own))
		}
	}
	return place(to, strings.TrimPrefix(loader, "/"), data)
}

func place(to, path string, data []byte) error {
	path = filepath.Join(to, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o755)
}
