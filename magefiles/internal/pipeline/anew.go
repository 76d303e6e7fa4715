package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/engine"
	"github.com/cubeos-app/releases/magefiles/internal/rootfs"
	"github.com/cubeos-app/releases/magefiles/internal/stage"
)

// Builds made to be compared are made anew, in a directory of the cache that
// is theirs alone. It holds hundreds of thousands of files, so it is removed
// at the end, or else when the cache is next used.

func (b *Build) scratchDir() string { return filepath.Join(b.Cache, "verify") }

// scratch returns that directory, empty.
func (b *Build) scratch(ctx context.Context) (dir string, remove func() error, err error) {
	dir = b.scratchDir()
	unlock, err := stage.Lock(ctx, dir+".lock", b.Log)
	if err != nil {
		return "", nil, err
	}
	remove = func() error { return errors.Join(os.RemoveAll(dir), os.Remove(dir+".lock"), unlock()) }
	if err := os.RemoveAll(dir); err != nil {
		return "", nil, errors.Join(err, unlock())
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return dir, remove, nil
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
// goes to the new directory dir. Downloads are still those of b, and so are the
// programs that are lent.
func (b *Build) anew(ctx context.Context, dir string) (*Build, error) {
	if _, err := b.native(ctx); err != nil {
		return nil, err
	}
	fresh := *b
	fresh.Cache, fresh.dir = dir, dir
	fresh.logs = filepath.Join(b.logs, filepath.Base(dir))
	names, err := artifact.NamesFor(b.Profile, b.Version)
	if err != nil {
		return nil, err
	}
	fresh.names = names.In(dir)
	fresh.stages.Dir = filepath.Join(dir, "stages")
	if err := os.MkdirAll(fresh.stages.Dir, 0o755); err != nil {
		return nil, err
	}
	fresh.store, err = rootfs.Open(filepath.Join(dir, "rootfs"), b.Log)
	return &fresh, err
}

// provisioned is a root file system and how it came to be.
type provisioned struct {
	job    engine.Job
	layers []string
	took   time.Duration
}

// provision runs the recipe over the job's base image, with b's layers.
func (b *Build) provision(ctx context.Context, job engine.Job, lender rootfs.Lender) (provisioned, error) {
	started := time.Now()
	layers, err := b.embedded(lender).Provision(ctx, job)
	if err != nil {
		return provisioned{}, fmt.Errorf("provisioning anew: %w", err)
	}
	return provisioned{job, layers, time.Since(started)}, nil
}
