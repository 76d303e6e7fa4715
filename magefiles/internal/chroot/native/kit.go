package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Kit is a tree of programs to lend from. They find their dynamic loader and
// libraries in a directory of their own: what looks for libraries in the usual
// places, as mkinitramfs does, must not find those of the build machine.
type Kit struct {
	tree     string
	packages map[string]contents // of those in tools
	log      *progress.Reporter
	told     string // the last warning, which is not repeated at every step
}

// contents is what the kit has of a package.
type contents struct {
	Version  string
	Programs map[string]string // path in the root file system → target, if it is a link there
	Extra    []string          // files that no package of the root file system has
}

// Where the loader and the libraries are in the chroot. The loader looks for
// libraries where libDirs says; each replacement has the length of what it
// replaces.
const (
	ownDir  = "native-assist"
	loader  = "/" + ownDir + "/ld.so"
	multi   = "usr/lib/x86_64-linux-gnu"
	formats = "1" // of the kit: changes with what this program makes of the packages
)

func libDirs() map[string]string {
	return map[string]string{
		"\x00/lib/x86_64-linux-gnu/\x00":     "\x00/" + ownDir + "/lib////\x00",
		"\x00/usr/lib/x86_64-linux-gnu/\x00": "\x00/" + ownDir + "/lib////////\x00",
	}
}

// Prepare returns the kit for a suite, which has to be the device's, from the
// store if it was made before.
func Prepare(ctx context.Context, suite, mirror string, store *layer.Store, archives *debian.Archives, log *progress.Reporter) (*Kit, error) {
	from := debian.Release{Suite: suite, Arch: "amd64", Mirror: mirror}
	var include []string
	for _, t := range tools() {
		include = append(append(include, t.pkg), t.needs...)
	}
	sum := sha256.Sum256(fmt.Append(nil, formats, tools(), from.ExtractArgv(include, "")))
	tree, err := store.Layer(ctx, "native-"+hex.EncodeToString(sum[:]), func(ctx context.Context, d layer.Draft) error {
		ctx, span := timing.Start(ctx, "fetching native programs")
		defer span.End()
		log.Printf("fetching the amd64 programs of Debian %s that will stand in for emulated ones", suite)
		if err := d.Title("native programs of Debian " + suite); err != nil {
			return err
		}
		debian := layer.Draft{Tree: filepath.Join(d.Scratch, "debian"), Scratch: d.Scratch}
		// They are not installed, only extracted: nothing runs in there.
		if err := from.Extract(ctx, include, debian, archives, io.Discard); err != nil {
			return err
		}
		return assemble(ctx, debian.Tree, d)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the native programs of %s from %s: %w", suite, mirror, err)
	}
	k := &Kit{tree: tree, log: log}
	raw, err := os.ReadFile(filepath.Join(layer.Notes(tree), notesFile))
	if err != nil {
		return nil, err
	}
	return k, json.Unmarshal(raw, &k.packages)
}

const notesFile = "packages.json"

// assemble puts what is lent of an extracted Debian into the draft's tree.
func assemble(ctx context.Context, from string, d layer.Draft) error {
	versions, err := extracted(from)
	if err != nil {
		return err
	}
	packages := map[string]contents{}
	for _, t := range tools() {
		c := contents{Version: versions[t.pkg], Programs: map[string]string{}}
		paths := t.only
		if paths == nil {
			if paths, err = programsOf(ctx, t.pkg, from); err != nil {
				return err
			}
		}
		for _, path := range paths {
			if slices.Contains(t.except, path) {
				continue
			}
			target, err := os.Readlink(filepath.Join(from, path))
			if err == nil && t.only == nil {
				continue // a name of another program of the package
			}
			source := path
			if target != "" {
				source = filepath.Join(filepath.Dir(path), target)
			}
			ok, err := t.copy(from, source, d.Tree, path)
			if err != nil {
				return err
			}
			if ok {
				c.Programs[path] = target
			}
		}
		for _, dir := range t.extra {
			extra, err := t.copyAll(from, dir, d.Tree)
			if err != nil {
				return err
			}
			c.Extra = append(c.Extra, extra...)
		}
		packages[t.pkg] = c
	}
	raw, err := json.MarshalIndent(packages, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(d.Notes, notesFile), raw, 0o644), assembleLibraries(from, d.Tree))
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
	return programs(list), err
}

// programs picks the programs from tar's list of a package's files.
func programs(list string) []string {
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

// copy copies a native program into the kit, and reports whether it is one.
func (t tool) copy(from, source, to, path string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(from, source))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !native(data[:min(len(data), elfHead)]) {
		return false, err
	}
	if t.arch {
		if data, err = actAsARM64(path, data); err != nil {
			return false, err
		}
	}
	if data, err = useOwnLoader(data); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, place(to, path, data)
}

// copyAll copies a directory of files that a program loads. In directories that
// both architectures share, what is not compiled is the same on both.
func (t tool) copyAll(from, dir, to string) ([]string, error) {
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

// assembleLibraries puts the shared libraries and the dynamic loader into the
// kit's own directory.
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

// actAsARM64 replaces the name of the architecture that dpkg's programs take
// for the machine's own (ARCHITECTURE in its config.h). The two names are of
// the same length, and as a whole string the name has no other use in them.
func actAsARM64(path string, program []byte) ([]byte, error) {
	const own, device = "\x00amd64\x00", "\x00arm64\x00"
	if path == "usr/bin/dpkg" && !bytes.Contains(program, []byte(own)) {
		return nil, fmt.Errorf("%s does not hold the name of its architecture any more", path)
	}
	return bytes.ReplaceAll(program, []byte(own), []byte(device)), nil
}

// useOwnLoader replaces the name of the dynamic loader in a program's PT_INTERP
// segment, if it has one, by loader.
func useOwnLoader(program []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz <= uint64(len(loader)) {
			return nil, fmt.Errorf("the name of the dynamic loader has only %d bytes", p.Filesz)
		}
		name := program[p.Off : p.Off+p.Filesz]
		clear(name)
		copy(name, loader)
	}
	return program, nil
}
