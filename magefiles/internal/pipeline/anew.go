package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// scratch is a directory of the cache for builds that are made anew, to be
// compared. It holds hundreds of thousands of files, so it is removed at the
// end, or else when the cache is next used.
type scratch struct {
	dir    string
	stores []*layer.Store
	unlock func() error
}

func (b *Build) scratchDir() string { return filepath.Join(b.Cache, "verify") }

// scratch returns the directory, empty.
func (b *Build) scratch(ctx context.Context) (*scratch, error) {
	dir := b.scratchDir()
	unlock, err := stage.Lock(ctx, dir+".lock", b.Log)
	if err != nil {
		return nil, err
	}
	s := &scratch{dir: dir, unlock: unlock}
	if err := os.RemoveAll(dir); err != nil {
		return nil, errors.Join(err, unlock())
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

func (s *scratch) remove() error {
	var problems []error
	for _, store := range s.stores {
		problems = append(problems, store.Close())
	}
	return errors.Join(append(problems, os.RemoveAll(s.dir), os.Remove(s.dir+".lock"), s.unlock())...)
}

// sweepScratch removes what a comparison that was killed left.
func (b *Build) sweepScratch() error {
	dir := b.scratchDir()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := stage.TryLock(dir + ".lock")
	if errors.Is(err, stage.ErrLocked) {
		return nil // it is in use
	}
	if err != nil {
		return err
	}
	b.Log.Printf("removing builds that were to be compared, of a run that was killed")
	return errors.Join(os.RemoveAll(dir), os.Remove(dir+".lock"), unlock())
}

// anew returns a build like b that finds nothing built before: what it makes
// goes to a new directory of s. Downloads are still those of b, and so are the
// native programs.
func (b *Build) anew(ctx context.Context, s *scratch, name string) (*Build, error) {
	dir := filepath.Join(s.dir, name)
	fresh := *b
	fresh.Cache, fresh.dir = dir, dir
	fresh.logs = filepath.Join(b.logs, name)
	names, err := artifact.NamesFor(b.Profile, b.Version)
	if err != nil {
		return nil, err
	}
	fresh.names = names.In(dir)
	fresh.stages.Dir = filepath.Join(dir, "stages")
	if err := os.MkdirAll(fresh.stages.Dir, 0o755); err != nil {
		return nil, err
	}
	if fresh.store, err = layer.Open(filepath.Join(dir, LayersDir), b.Log); err != nil {
		return nil, err
	}
	s.stores = append(s.stores, fresh.store)
	return &fresh, nil
}

// provisioned is a root file system and how it came to be.
type provisioned struct {
	job    build.Job
	layers []string
	took   time.Duration
}

// provision runs the recipe over the job's base image, with b's layers.
func (b *Build) provision(ctx context.Context, job build.Job, overlay chroot.NativeOverlay) (provisioned, error) {
	started := time.Now()
	layers, err := b.embedded(overlay).Provision(ctx, job)
	if err != nil {
		return provisioned{}, fmt.Errorf("provisioning anew: %w", err)
	}
	return provisioned{job, layers, time.Since(started)}, nil
}
