package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/native"
)

// Sameness runs the recipe twice, with native programs and wholly emulated, and returns an error that lists the files in which the two root
// file systems differ. Both runs are made anew, over one base image.
func (b *Build) Sameness(ctx context.Context) (err error) {
	overlay, err := b.requireNative(ctx)
	if err != nil {
		return err
	}
	if err := b.ContainerImages(ctx); err != nil {
		return err
	}
	job, err := b.job(ctx)
	if err != nil {
		return err
	}
	s, err := b.scratch(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove()) }()
	fresh, err := b.anew(ctx, s, "native")
	if err != nil {
		return err
	}
	native, err := fresh.provision(ctx, job, overlay)
	if err != nil {
		return err
	}
	return b.sameEmulated(ctx, native, s)
}

// requireNative returns the overlay with native programs where there has to be one.
func (b *Build) requireNative(ctx context.Context) (chroot.NativeOverlay, error) {
	if !native.Supported() {
		return nil, errors.New("this machine has no native programs for the chroot, so there is nothing to compare")
	}
	overlay, err := b.native.Overlay(ctx)
	if err == nil && overlay == nil {
		err = errors.New("no native programs could be prepared, so there is nothing to compare")
	}
	return overlay, err
}

// sameEmulated does emulated what was done natively, and compares.
func (b *Build) sameEmulated(ctx context.Context, native provisioned, s *scratch) error {
	fresh, err := b.anew(ctx, s, "emulated")
	if err != nil {
		return err
	}
	emulated, err := fresh.provision(ctx, native.job, nil)
	if err != nil {
		return err
	}
	var manifests []chroot.Manifest
	for i, p := range []provisioned{native, emulated} {
		m, err := readLayers(ctx, p.layers, filepath.Join(s.dir, fmt.Sprint("view-", i+1)))
		if err != nil {
			return err
		}
		manifests = append(manifests, m)
	}
	b.Log.Printf("provisioned %d files natively in %s, emulated in %s: %.2f of the time", len(manifests[0]),
		native.took.Round(time.Second), emulated.took.Round(time.Second), native.took.Seconds()/emulated.took.Seconds())
	if err := judge(b.Log.Printf, manifests[0].Differences(manifests[1]), allowed()); err != nil {
		return fmt.Errorf("native and emulated provisioning are not the same; %w", err)
	}
	b.Log.Printf("native and emulated, the root file systems are the same")
	return nil
}

func readLayers(ctx context.Context, layers []string, dir string) (chroot.Manifest, error) {
	view, err := chroot.NewView(layers, dir)
	if err != nil {
		return nil, err
	}
	m, err := chroot.ReadManifest(ctx, view)
	return m, errors.Join(err, view.Close())
}
