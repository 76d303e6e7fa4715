package proof

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/native"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof/filelist"
)

// Equivalence runs the recipe twice, with native programs and wholly emulated,
// and returns an error that lists the files in which the two root file systems
// differ. Neither run finds anything built before, but both have one base image.
func Equivalence(ctx context.Context, b *pipeline.Build) (err error) {
	overlay, err := requireNative(ctx, b)
	if err != nil {
		return err
	}
	if err := b.ContainerImages(ctx); err != nil {
		return err
	}
	job, err := b.Job(ctx)
	if err != nil {
		return err
	}
	c, err := newComparison(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	isolated, err := c.isolated("native")
	if err != nil {
		return err
	}
	natively, err := isolated.Provision(ctx, job, overlay)
	if err != nil {
		return err
	}
	return c.equivalent(ctx, natively)
}

// requireNative returns the native programs where there have to be some.
func requireNative(ctx context.Context, b *pipeline.Build) (chroot.NativeOverlay, error) {
	if !native.Supported() {
		return nil, errors.New("this machine has no native programs for the chroot, so there is nothing to compare")
	}
	overlay, err := b.Native(ctx)
	if err == nil && overlay == nil {
		err = errors.New("no native programs could be prepared, so there is nothing to compare")
	}
	return overlay, err
}

// equivalent does emulated what was done natively, and compares.
func (c *comparison) equivalent(ctx context.Context, natively pipeline.Provisioned) error {
	isolated, err := c.isolated("emulated")
	if err != nil {
		return err
	}
	emulated, err := isolated.Provision(ctx, natively.Job, nil)
	if err != nil {
		return err
	}
	var lists []filelist.List
	for i, p := range []pipeline.Provisioned{natively, emulated} {
		l, err := readLayers(ctx, p.Layers, filepath.Join(c.scratch.Dir, fmt.Sprint("view-", i+1)))
		if err != nil {
			return err
		}
		lists = append(lists, l)
	}
	c.Log.Printf("provisioned %d files natively in %s, emulated in %s: %.2f of the time", len(lists[0]),
		natively.Took.Round(time.Second), emulated.Took.Round(time.Second), natively.Took.Seconds()/emulated.Took.Seconds())
	if err := filelist.Compare(lists[0], lists[1]); err != nil {
		return fmt.Errorf("native and emulated provisioning do not give the same; %w", err)
	}
	c.Log.Printf("native and emulated provisioning give the same root file system")
	return nil
}

func readLayers(ctx context.Context, layers []string, dir string) (filelist.List, error) {
	view, err := chroot.NewView(layers, dir)
	if err != nil {
		return nil, err
	}
	l, err := filelist.Read(ctx, view)
	return l, errors.Join(err, view.Close())
}
