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

// Aid is a directory laid over the other layers for the time of one command:
// what a chroot needs in order to work but must not keep, such as a resolver
// or a ban on starting services. It hides what has the same path below, and
// because it is a layer and not a mount, the command may replace or remove it
// like any other file.
type Aid struct {
	Dir   string
	files []string
	dirs  []string // deepest last
}

// AidFile is one file of an Aid: a new one with Mode and Data, a hard link to
// the file From on the same file system, or a symbolic link to Link.
type AidFile struct {
	Path string // inside the root file system, without the leading slash
	Mode fs.FileMode
	Data []byte
	From string
	Link string
}

func (f AidFile) place(path string) error {
	switch {
	case f.From != "":
		return os.Link(f.From, path)
	case f.Link != "":
		return os.Symlink(f.Link, path)
	}
	if err := os.WriteFile(path, f.Data, f.Mode); err != nil {
		return err
	}
	return os.Chmod(path, f.Mode)
}

// NewAid fills dir with files. Their directories take owner, mode and time
// from the topmost of layers that has them, since for a merged directory
// overlayfs shows those of the top.
func NewAid(dir string, layers []string, files []AidFile) (Aid, error) {
	a := Aid{Dir: dir}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return a, err
	}
	dirs := map[string]bool{".": true}
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return a, err
		}
		if err := f.place(path); err != nil {
			return a, err
		}
		a.files = append(a.files, f.Path)
		for d := filepath.Dir(f.Path); d != "."; d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	a.dirs = slices.Sorted(maps.Keys(dirs))
	for _, d := range a.dirs {
		if err := likeBelow(dir, layers, d); err != nil {
			return a, err
		}
	}
	return a, nil
}

func likeBelow(aid string, layers []string, d string) error {
	to := filepath.Join(aid, d)
	for _, layer := range layers {
		info, err := os.Lstat(filepath.Join(layer, d))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
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

// Scrub removes from the upper directory what is there only because the aid
// was: copies that a change of mode or owner made of its files, and marks of
// deletion for files that no layer has. What the command put in place of an
// aid's file stays.
func (a Aid) Scrub(upper string, layers []string) error {
	for _, rel := range a.files {
		path := filepath.Join(upper, rel)
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		}
		if err != nil {
			return err
		}
		drop := false
		switch {
		case isWhiteout(info):
			drop = !inAny(layers, rel)
		case info.Mode().IsRegular():
			drop, err = sameContents(path, filepath.Join(a.Dir, rel))
			if err != nil {
				return err
			}
		}
		if drop {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for _, d := range slices.Backward(a.dirs) {
		if inAny(layers, d) {
			continue
		}
		// Only the aid had this directory; what a command put into it stays.
		err := os.Remove(filepath.Join(upper, d))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
	return nil
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

func sameContents(a, b string) (bool, error) {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if err := errors.Join(errX, errY); err != nil || x.Size() != y.Size() {
		return false, err
	}
	sumX, errX := stage.FileDigest(a)
	sumY, errY := stage.FileDigest(b)
	return sumX == sumY, errors.Join(errX, errY)
}

// BuildAids are the files every provisioner gets: the build machine's resolver,
// whatever /etc/resolv.conf is on the device, and a policy that keeps packages
// from starting services.
func BuildAids() ([]AidFile, error) {
	resolver, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the build machine's resolver: %w", err)
	}
	// A stub on the loopback interface answers in the chroot too: the network
	// is shared.
	if len(strings.TrimSpace(string(resolver))) == 0 {
		return nil, errors.New("the build machine has an empty /etc/resolv.conf, so provisioners could not resolve names")
	}
	return []AidFile{{Path: "etc/resolv.conf", Mode: 0o644, Data: resolver}, NoServices()}, nil
}

// NoServices is Debian's way to keep packages from starting their services.
func NoServices() AidFile {
	return AidFile{Path: "usr/sbin/policy-rc.d", Mode: 0o755, Data: []byte("#!/bin/sh\nexit 101\n")}
}
