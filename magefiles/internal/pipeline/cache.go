package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/docker/go-units"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// DefaultLimit is what the rootfs layers of a few recipes on both profiles
// need, a dozen times over.
const DefaultLimit = 20 << 30

// Where in the cache they are.
const (
	LayersDir   = "layers"   // rootfs layers
	PackagesDir = "packages" // archives of packages
)

// cacheLock is what every build holds together for as long as it uses the
// cache, and what empties the cache holds alone.
func cacheLock(cache string) string { return filepath.Join(cache, "lock") }

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
func (k Kind) dirs(o Options) []string {
	switch k {
	case Builds:
		return []string{filepath.Join(o.Root, "build"), filepath.Join(o.Root, "docker-images")}
	case Layers:
		return []string{filepath.Join(o.Cache, LayersDir)}
	case Bases:
		return []string{filepath.Join(o.Cache, "base")}
	case Blobs:
		return []string{filepath.Join(o.Cache, "blobs")}
	case Packages:
		return []string{filepath.Join(o.Cache, PackagesDir)}
	}
	return nil
}

// Clean removes the kinds, after waiting for the builds that use them, and says
// what was freed. Of the cache it touches only what builds put there.
func Clean(ctx context.Context, o Options, kinds []Kind) (err error) {
	if slices.Contains(kinds, Builds) {
		unlock, err := stage.Lock(ctx, LockFile(o.Root), o.Log)
		if err != nil {
			return fmt.Errorf("waiting for the build in this checkout: %w", err)
		}
		defer unlock()
	}
	if slices.ContainsFunc(kinds, func(k Kind) bool { return k != Builds }) {
		lock := cacheLock(o.Cache)
		unlock, lockErr := stage.Lock(ctx, lock, o.Log)
		if lockErr != nil {
			return fmt.Errorf("waiting for the builds that use the cache: %w", lockErr)
		}
		defer unlock()
		// Who waits for a lock whose file is gone takes a new one.
		defer func() { err = errors.Join(err, os.Remove(lock), removeEmpty(o.Cache)) }()
	}
	var problems []error
	for _, k := range kinds {
		var freed int64
		for _, dir := range k.dirs(o) {
			n, err := remove(dir)
			freed += n
			problems = append(problems, err)
		}
		o.Log.Printf("removed the %s: %s", k, units.BytesSize(float64(freed)))
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

// VerifyCache reads every rootfs layer in the cache and drops those that are
// not what was once made.
func VerifyCache(ctx context.Context, o Options) (err error) {
	unlock, err := stage.LockShared(ctx, cacheLock(o.Cache), o.Log)
	if err != nil {
		return err
	}
	defer unlock()
	store, err := layer.Open(filepath.Join(o.Cache, LayersDir), o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	files, dropped, err := store.Verify(ctx)
	if err != nil {
		return err
	}
	if len(dropped) > 0 {
		return fmt.Errorf("%d layers were changed or damaged since they were made, and dropped; the next build makes them again:\n%s", len(dropped), strings.Join(dropped, "\n"))
	}
	o.Log.Printf("all %d files of the cached layers are what was made", files)
	return nil
}
