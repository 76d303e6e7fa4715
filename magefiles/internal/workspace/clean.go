package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/docker/go-units"

	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
)

// Kind is a part of what builds leave behind.
type Kind string

// The kinds: what builds made in the checkout, and what they keep in the cache.
const (
	Builds   Kind = "builds"
	Layers   Kind = "layers"
	Bases    Kind = "base images"
	Blobs    Kind = "container images"
	Packages Kind = "packages"
)

// AllKinds lists the kinds.
func AllKinds() []Kind { return []Kind{Builds, Layers, Bases, Blobs, Packages} }

// dirs are those of the kind in the checkout or the cache.
func (k Kind) dirs(w Workspace) []string {
	switch k {
	case Builds:
		return []string{w.BuildDir(), filepath.Join(w.Root, "docker-images")}
	case Layers:
		return []string{w.Cache.Layers()}
	case Bases:
		return []string{w.Cache.BaseImages()}
	case Blobs:
		return []string{w.Cache.Blobs()}
	case Packages:
		return []string{w.Cache.Packages()}
	}
	return nil
}

// Clean removes the kinds, after waiting for the builds that use them, and says
// what was freed. Of the cache it touches only what builds put there.
func (w Workspace) Clean(ctx context.Context, kinds []Kind) (err error) {
	if slices.Contains(kinds, Builds) {
		unlock, err := lock.Acquire(ctx, w.LockFile(), lock.Exclusive, w.Log)
		if err != nil {
			return fmt.Errorf("waiting for the build in this checkout: %w", err)
		}
		defer unlock()
	}
	if slices.ContainsFunc(kinds, func(k Kind) bool { return k != Builds }) {
		lockFile := w.Cache.lockFile()
		unlock, lockErr := lock.Acquire(ctx, lockFile, lock.Exclusive, w.Log)
		if lockErr != nil {
			return fmt.Errorf("waiting for the builds that use the cache: %w", lockErr)
		}
		defer unlock()
		// Who waits for a lock whose file is gone takes a new one.
		defer func() { err = errors.Join(err, os.Remove(lockFile), removeEmpty(string(w.Cache))) }()
	}
	var problems []error
	for _, k := range kinds {
		var freed int64
		for _, dir := range k.dirs(w) {
			n, err := remove(dir)
			freed += n
			problems = append(problems, err)
		}
		w.Log.Printf("removed the %s: %s", k, units.BytesSize(float64(freed)))
	}
	return errors.Join(problems...)
}

func removeEmpty(dir string) error {
	err := os.Remove(dir)
	if errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	return err
}

// remove removes a directory tree and returns how many bytes that gives back:
// those of a file that has other names elsewhere stay.
func remove(dir string) (freed int64, err error) {
	type file struct{ device, inode uint64 }
	names := map[file]uint64{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		f := file{st.Dev, st.Ino}
		if names[f]++; d.IsDir() || names[f] == uint64(st.Nlink) {
			freed += st.Blocks * 512
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return freed, errors.Join(err, os.RemoveAll(dir))
}
