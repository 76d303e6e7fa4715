package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// Isolated returns a build like b that finds nothing built before: it makes
// everything in dir, until it is closed. Downloads are still those of b, and so
// are the native programs.
func (b *Build) Isolated(dir string) (*Build, error) {
	isolated := *b
	isolated.Cache, isolated.Dir = workspace.Cache(dir), dir
	isolated.logs = filepath.Join(b.logs, filepath.Base(dir))
	isolated.Names = b.values.names.In(dir)
	isolated.stages.Dir = filepath.Join(dir, "stages")
	if err := os.MkdirAll(isolated.stages.Dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if isolated.store, err = layer.Open(isolated.Cache.Layers(), b.Log); err != nil {
		return nil, err
	}
	isolated.close = isolated.store.Close
	return &isolated, nil
}

// Rebuild has b use nothing any more that was built before.
func (b *Build) Rebuild() error {
	b.Refresh, b.store = embedded.RefreshBase, b.store.Rebuilding()
	b.refreshedBase, b.refreshedImage = false, false
	return b.stages.Forget("container-images")
}

// DropLayers removes the rootfs layers of an isolated build, whose image is
// enough from now on.
func (b *Build) DropLayers() error {
	if err := b.store.Close(); err != nil {
		return err
	}
	return os.RemoveAll(b.store.Dir)
}

// Native returns the programs that the chroot is given of this machine, nil
// where there are none.
func (b *Build) Native(ctx context.Context) (chroot.NativeOverlay, error) {
	return b.native.Overlay(ctx)
}

// Provisioned is a root file system and how it came to be.
type Provisioned struct {
	Job    build.Job
	Layers []string // topmost first
	Took   time.Duration
}

// Provision runs the recipe over the job's base image, with b's layers. native
// may be nil.
func (b *Build) Provision(ctx context.Context, job build.Job, native chroot.NativeOverlay) (Provisioned, error) {
	started := time.Now()
	layers, err := b.embedded(native).Provision(ctx, job)
	if err != nil {
		return Provisioned{}, fmt.Errorf("provisioning: %w", err)
	}
	return Provisioned{job, layers, time.Since(started)}, nil
}
