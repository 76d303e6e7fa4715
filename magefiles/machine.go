//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/host"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/progress"
	"github.com/cubeos-app/releases/magefiles/internal/stage"
)

// Prereqs installs what building, booting and testing need; -check only reports what is missing.
func Prereqs(ctx context.Context, cache *string, check *bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	o, err := flags{cache: cache}.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	needs := host.Needs{Groups: host.AllGroups(), Kernel: true, Disk: pipeline.DiskNeeds(o.Root, o.Cache)}
	if !or(check, false) {
		return host.EnsureInstalled(ctx, needs, o.Log)
	}
	report, err := host.Check(ctx, needs)
	if err != nil {
		return err
	}
	for _, u := range report.Unchecked {
		o.Log.Printf("not checked: %s", u)
	}
	if report.OK() {
		o.Log.Printf("nothing is missing")
	}
	return report.Err()
}

// Binfmt lets this machine execute arm64 programs, in chroots too.
func Binfmt(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if done, err := elevate(ctx); done {
		return err
	}
	return host.SetUpARM64(ctx, progress.New(os.Stderr))
}

// Clean removes build/ and docker-images/; -all also removes the cache of downloads and rootfs layers.
func Clean(ctx context.Context, cache *string, all *bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if done, err := elevate(ctx); done {
		return err
	}
	o, err := flags{cache: cache}.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	unlock, err := stage.Lock(ctx, pipeline.LockFile(o.Root), o.Log)
	if err != nil {
		return err
	}
	defer unlock()
	dirs := []string{filepath.Join(o.Root, "build"), filepath.Join(o.Root, "docker-images")}
	if or(all, false) {
		dirs = append(dirs, o.Cache)
	}
	var problems []error
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			problems = append(problems, fmt.Errorf("removing %s: %w", dir, err))
		}
	}
	return errors.Join(problems...)
}
