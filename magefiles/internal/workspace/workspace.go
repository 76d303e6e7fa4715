// Package workspace is where builds work: build/ and docker-images/ in a
// checkout, and the cache that serves every checkout of the machine.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Workspace is the directories that the builds of a checkout use.
type Workspace struct {
	Root  string // of the checkout
	Cache Cache
	Log   *progress.Reporter
}

// BuildDir is where a build puts what it makes.
func (w Workspace) BuildDir() string { return filepath.Join(w.Root, "build") }

// LockFile is what a build holds a lock on for as long as it uses BuildDir.
func (w Workspace) LockFile() string { return filepath.Join(w.BuildDir(), "lock") }

// Lock takes BuildDir for the caller alone, and the cache together with all that
// build. The order is the same everywhere, so that nobody waits in a circle.
func (w Workspace) Lock(ctx context.Context) (unlock func() error, err error) {
	unlockBuild, err := lock.Acquire(ctx, w.LockFile(), lock.Exclusive, w.Log)
	if err != nil {
		return nil, err
	}
	unlockCache, err := w.Cache.share(ctx, w.Log)
	if err != nil {
		return nil, errors.Join(err, unlockBuild())
	}
	return func() error { return errors.Join(unlockBuild(), unlockCache()) }, nil
}

// RestoreOwner makes the owner of the checkout the owner of all that was made in it.
func (w Workspace) RestoreOwner() error {
	info, err := os.Stat(w.Root)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if int(owner.Uid) == os.Geteuid() {
		return nil
	}
	var problems []error
	for _, made := range []string{"build", "docker-images", filepath.Join("skopeo", "images.lock"), filepath.Join("packer", "builder.lock")} {
		err := filepath.WalkDir(filepath.Join(w.Root, made), func(path string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			return os.Lchown(path, int(owner.Uid), int(owner.Gid))
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("giving %s to the owner of the checkout: %w", made, err))
		}
	}
	return errors.Join(problems...)
}

// What a build writes, measured for both profiles and rounded up generously:
// the raw image, its archive and the copy that boots in build/; base image,
// layers and blobs in the cache.
const (
	buildNeeds = 6 << 30
	cacheNeeds = 6 << 30
)

// DiskNeeds says how many bytes a build wants free, by directory. It is less
// where an earlier build has left what the next one would make.
func (w Workspace) DiskNeeds() map[string]int64 {
	build, cache := w.BuildDir(), string(w.Cache)
	needs := map[string]int64{build: buildNeeds, cache: cacheNeeds}
	if images, err := filepath.Glob(filepath.Join(build, "*.img")); err == nil && len(images) > 0 {
		needs[build] /= 2
	}
	if entries, err := os.ReadDir(filepath.Join(w.Cache.Layers(), "keys")); err == nil && len(entries) > 0 {
		needs[cache] /= 4
	}
	return needs
}

// Sweep removes what killed runs have left: half-made files in BuildDir, and
// scratch directories in the cache. The caller holds the lock.
func (w Workspace) Sweep() error {
	for _, pattern := range []string{"*.partial", "*.view"} {
		stale, err := filepath.Glob(filepath.Join(w.BuildDir(), pattern))
		if err != nil {
			return err
		}
		for _, path := range stale {
			w.Log.Printf("removing %s of a build that was killed", filepath.Base(path))
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return w.sweepScratch()
}
