package chroot

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// InjectedFile is a file that a root file system has for one command only: a new
// one with Mode and Data, or a hard link to the file From on the same file
// system.
type InjectedFile struct {
	Path string // inside the root file system, without the leading slash
	Mode fs.FileMode
	Data []byte
	From string
}

func (f InjectedFile) write(path string) error {
	if f.From != "" {
		return os.Link(f.From, path)
	}
	if err := os.WriteFile(path, f.Data, f.Mode); err != nil {
		return err
	}
	return os.Chmod(path, f.Mode)
}

// InjectedLayer is a directory laid over the other layers for the time of one
// command: what a chroot needs in order to work but must not keep, such as a
// resolver or a ban on starting services. It hides what has the same path below,
// and because it is a layer and not a mount, the command may replace or remove
// its files like any other.
type InjectedLayer struct {
	Dir   string
	files []string
	dirs  []string // deepest last
}

// NewInjectedLayer fills dir with files. Their directories take owner, mode and
// time from the topmost of layers that has them, since for a merged directory
// overlayfs shows those of the top.
func NewInjectedLayer(dir string, layers []string, files []InjectedFile) (InjectedLayer, error) {
	l := InjectedLayer{Dir: dir}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return l, err
	}
	dirs := map[string]bool{".": true}
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return l, err
		}
		if err := f.write(path); err != nil {
			return l, err
		}
		l.files = append(l.files, f.Path)
		for d := filepath.Dir(f.Path); d != "."; d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	l.dirs = slices.Sorted(maps.Keys(dirs))
	for _, d := range l.dirs {
		if err := copyAttributes(dir, layers, d); err != nil {
			return l, err
		}
	}
	return l, nil
}

// copyAttributes gives the directory d in dir the owner, mode and time of the
// topmost of layers that has it.
func copyAttributes(dir string, layers []string, d string) error {
	to := filepath.Join(dir, d)
	for _, layer := range layers {
		info, err := os.Lstat(filepath.Join(layer, d))
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("/%s is no directory in the root file system", d)
		}
		st := info.Sys().(*syscall.Stat_t)
		return errors.Join(
			os.Chown(to, int(st.Uid), int(st.Gid)),
			syscall.Chmod(to, st.Mode&0o7777),
			os.Chtimes(to, time.Time{}, info.ModTime()),
		)
	}
	return nil
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// Scrub removes from the upper directory what is there only because of the
// injected files: copies that a change of mode or owner made of them, marks of
// deletion for files that no layer has, and directories that are empty now. What
// the command put in place of an injected file stays.
func (l InjectedLayer) Scrub(upper string, layers []string) error {
	for _, file := range l.files {
		residue, err := l.isResidue(upper, layers, file)
		if err != nil {
			return err
		}
		if !residue {
			continue
		}
		if err := os.Remove(filepath.Join(upper, file)); err != nil {
			return err
		}
	}
	for _, d := range slices.Backward(l.dirs) {
		if inAny(layers, d) {
			continue
		}
		err := os.Remove(filepath.Join(upper, d))
		if err != nil && !isAbsent(err) && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

// isResidue reports whether the upper directory has something at the path of an
// injected file that says nothing but that the file was there.
func (l InjectedLayer) isResidue(upper string, layers []string, file string) (bool, error) {
	path := filepath.Join(upper, file)
	info, err := os.Lstat(path)
	switch {
	case isAbsent(err):
		return false, nil
	case err != nil:
		return false, err
	case isWhiteout(info):
		return !inAny(layers, file), nil
	case info.Mode().IsRegular():
		return haveSameContents(path, filepath.Join(l.Dir, file))
	}
	return false, nil
}

func inAny(layers []string, rel string) bool {
	return slices.ContainsFunc(layers, func(l string) bool {
		_, err := os.Lstat(filepath.Join(l, rel))
		return err == nil
	})
}

// isWhiteout recognises overlayfs's mark of a deleted file.
func isWhiteout(info fs.FileInfo) bool {
	st := info.Sys().(*syscall.Stat_t)
	return st.Mode&syscall.S_IFMT == syscall.S_IFCHR && st.Rdev == 0
}

func haveSameContents(a, b string) (bool, error) {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if err := errors.Join(errX, errY); err != nil || x.Size() != y.Size() {
		return false, err
	}
	sumX, errX := stage.FileDigest(a)
	sumY, errY := stage.FileDigest(b)
	return sumX == sumY, errors.Join(errX, errY)
}

// CommonFiles are injected for every provisioner: the build machine's resolver,
// whatever /etc/resolv.conf is on the device, and a policy that keeps packages
// from starting services.
func CommonFiles() ([]InjectedFile, error) {
	resolver, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the build machine's resolver: %w", err)
	}
	// A stub on the loopback interface answers in the chroot too: the network
	// is shared.
	if len(strings.TrimSpace(string(resolver))) == 0 {
		return nil, errors.New("the build machine has an empty /etc/resolv.conf, so provisioners could not resolve names")
	}
	return []InjectedFile{{Path: "etc/resolv.conf", Mode: 0o644, Data: resolver}, NoServices()}, nil
}

// NoServices is Debian's way to keep packages from starting their services.
func NoServices() InjectedFile {
	return InjectedFile{Path: "usr/sbin/policy-rc.d", Mode: 0o755, Data: []byte("#!/bin/sh\nexit 101\n")}
}
