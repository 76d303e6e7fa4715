// Package assist lends a chroot of another architecture the build machine's
// own programs. Debian's library paths name the architecture, so libraries of
// both can lie side by side, and a program of the same version does the same,
// only many times faster than its emulated twin.
//
// What is lent is laid over the root file system for one command and is gone
// after it; programs that the command installs or replaces hide the lent ones.
package assist

import (
	"bufio"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/cubeos-app/releases/magefiles/internal/process"
	"github.com/cubeos-app/releases/magefiles/internal/progress"
	"github.com/cubeos-app/releases/magefiles/internal/rootfs"
	"github.com/cubeos-app/releases/magefiles/internal/timing"
)

// Kit is a tree of programs to lend from.
type Kit struct {
	tree     string
	versions map[string]string // of its packages
	log      *progress.Reporter
}

// Debian is the suite the programs come from, which has to be the device's.
type Debian struct{ Suite, Mirror string }

// Supported reports whether this machine's programs can be lent at all. On
// arm64 there is nothing to gain, and other architectures were not tried.
func Supported() bool { return runtime.GOARCH == "amd64" }

// Prepare returns the kit for a suite, from the store if it was made before.
func Prepare(ctx context.Context, from Debian, store *rootfs.Store, log *progress.Reporter) (*Kit, error) {
	sum := sha256.Sum256(fmt.Append(nil, from.argv("")))
	tree, err := store.Layer(ctx, "native-"+hex.EncodeToString(sum[:]), func(ctx context.Context, d rootfs.Draft) error {
		ctx, span := timing.Start(ctx, "fetching native programs")
		defer span.End()
		log.Printf("fetching the amd64 programs of Debian %s that will stand in for emulated ones", from.Suite)
		return process.Run(ctx, from.argv(d.Tree)...)
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the native programs of %s from %s: %w", from.Suite, from.Mirror, err)
	}
	versions, err := installed([]string{tree})
	if err != nil {
		return nil, err
	}
	return &Kit{tree, versions, log}, nil
}

func (from Debian) argv(tree string) []string {
	var include []string
	for _, t := range tools() {
		include = append(append(include, t.pkg), t.needs...)
	}
	return []string{
		"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		"mmdebstrap", "--mode=root", "--architectures=amd64", "--variant=minbase", "--format=directory",
		"--aptopt=APT::Install-Recommends \"false\"", "--include=" + strings.Join(include, ","),
		from.Suite, tree, from.Mirror,
	}
}

// Lend returns the files to lay over layers (topmost first): for each program
// in tools that the root file system has in the same version, the kit's, and
// the libraries they all need.
func (k *Kit) Lend(layers []string) ([]rootfs.AidFile, error) {
	have, err := installed(layers)
	if err != nil {
		return nil, err
	}
	var files []rootfs.AidFile
	var other []string
	for _, t := range tools() {
		version, ok := have[t.pkg]
		if !ok {
			continue
		}
		if !same(version, k.versions[t.pkg]) {
			other = append(other, fmt.Sprintf("%s (%s, to lend %s)", t.pkg, version, k.versions[t.pkg]))
			continue
		}
		lent, err := k.lend(t, layers)
		if err != nil {
			return nil, fmt.Errorf("lending %s: %w", t.pkg, err)
		}
		files = append(files, lent...)
	}
	if len(other) > 0 {
		k.log.Printf("warning: these run emulated, since the root file system has another version: %s", strings.Join(other, ", "))
	}
	if len(files) == 0 {
		return nil, nil
	}
	libraries, err := k.libraries()
	return append(files, libraries...), err
}

func (k *Kit) lend(t tool, layers []string) ([]rootfs.AidFile, error) {
	paths := t.only
	if paths == nil {
		owned, err := k.owned(t.pkg)
		if err != nil {
			return nil, err
		}
		paths = owned
	}
	var files []rootfs.AidFile
	for _, path := range paths {
		native, err := isELF(filepath.Join(k.tree, path), elf.EM_X86_64)
		if err != nil {
			return nil, err
		}
		if native && regular(layers, path) {
			files = append(files, rootfs.AidFile{Path: path, From: filepath.Join(k.tree, path)})
		}
	}
	for _, dir := range t.extra {
		extra, err := k.all(dir)
		if err != nil {
			return nil, err
		}
		for _, f := range extra {
			// Scripts and data are the same on both sides; what is compiled may
			// have a name of its own for each architecture.
			if native, err := isELF(f.From, elf.EM_X86_64); err != nil {
				return nil, err
			} else if native {
				files = append(files, f)
			}
		}
	}
	if t.pkg == "apt" {
		files = append(files, rootfs.AidFile{Path: aptConfPath, Mode: 0o644, Data: []byte(aptConf)})
	}
	return files, nil
}

// libraries are the kit's shared libraries and its dynamic loader, in places
// that a root file system of another architecture does not have.
func (k *Kit) libraries() ([]rootfs.AidFile, error) {
	files, err := k.all("usr/lib/x86_64-linux-gnu")
	if err != nil {
		return nil, err
	}
	loader, err := k.all("usr/lib64")
	return append(append(files, loader...), rootfs.AidFile{Path: "lib64", Link: "usr/lib64"}), err
}

func (k *Kit) all(dir string) ([]rootfs.AidFile, error) {
	var files []rootfs.AidFile
	err := filepath.WalkDir(filepath.Join(k.tree, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(k.tree, path)
		if err != nil {
			return err
		}
		f := rootfs.AidFile{Path: rel, From: path}
		if d.Type() == fs.ModeSymlink {
			f.From = ""
			if f.Link, err = os.Readlink(path); err != nil {
				return err
			}
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// owned lists the programs of a package of the kit.
func (k *Kit) owned(pkg string) ([]string, error) {
	raw, err := os.ReadFile(filepath.Join(k.tree, "var/lib/dpkg/info", pkg+".list"))
	if err != nil {
		return nil, err
	}
	var programs []string
	for path := range strings.Lines(string(raw)) {
		path = strings.TrimPrefix(strings.TrimSpace(path), "/")
		for _, dir := range []string{"bin/", "sbin/"} {
			if strings.HasPrefix(path, dir) { // before usr-merge
				path = "usr/" + path
			}
		}
		if strings.HasPrefix(path, "usr/bin/") || strings.HasPrefix(path, "usr/sbin/") {
			programs = append(programs, path)
		}
	}
	return programs, nil
}

func isELF(path string, machine elf.Machine) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false, ignoreMissing(err)
	}
	f, err := elf.Open(path)
	if format := new(elf.FormatError); errors.As(err, &format) || errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return f.Machine == machine, nil
}

// regular reports whether path is a regular file in the merged layers.
func regular(layers []string, path string) bool {
	for _, layer := range layers {
		info, err := os.Lstat(filepath.Join(layer, path))
		if err == nil {
			return info.Mode().IsRegular()
		}
	}
	return false
}

var binaryRebuild = regexp.MustCompile(`\+b\d+$`)

// same compares package versions. A rebuild for one architecture alone, which
// Debian marks by +bN, has the same source.
func same(a, b string) bool {
	return binaryRebuild.ReplaceAllString(a, "") == binaryRebuild.ReplaceAllString(b, "")
}

// installed reads the versions of the installed packages from the topmost
// layer that has dpkg's status.
func installed(layers []string) (map[string]string, error) {
	i := slices.IndexFunc(layers, func(l string) bool {
		_, err := os.Lstat(filepath.Join(l, "var/lib/dpkg/status"))
		return err == nil
	})
	if i < 0 {
		return nil, errors.New("no layer has /var/lib/dpkg/status")
	}
	f, err := os.Open(filepath.Join(layers[i], "var/lib/dpkg/status"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	versions := map[string]string{}
	var pkg string
	unpacked := false
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "Package":
			pkg, unpacked = value, false
		case "Status":
			unpacked = strings.HasSuffix(value, " installed")
		case "Version":
			if unpacked {
				versions[pkg] = value
			}
		}
	}
	return versions, lines.Err()
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}
