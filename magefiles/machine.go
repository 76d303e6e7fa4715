//go:build mage

package main

import (
	"context"
	"errors"
	"os"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/release/gitlab"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// Prereqs installs what building, booting and testing need; -check only reports what is missing, in a GitLab job also of what its image job wants of the runner.
func Prereqs(ctx context.Context, cache *string, check *bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	o, err := flags{cache: cache}.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	needs := host.Needs{Groups: host.AllGroups(), Kernel: true, Disk: o.DiskNeeds()}
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
	err = report.Err()
	if os.Getenv("GITLAB_CI") == "true" {
		err = errors.Join(err, gitlab.CheckRunner(os.Getenv))
	}
	if err == nil {
		o.Log.Printf("nothing is missing")
	}
	return err
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

// Clean removes build/ and docker-images/, or what its flags name of the cache, and says what that freed.
//
// -layers, -base, -blobs and -packages remove rootfs layers, base images,
// container images and Debian packages from the cache, and nothing else; -all
// removes everything.
func Clean(ctx context.Context, cache *string, layers, base, blobs, packages, all *bool) error {
	var kinds []workspace.Kind
	for _, k := range []struct {
		given *bool
		kind  workspace.Kind
	}{
		{layers, workspace.Layers}, {base, workspace.Bases}, {blobs, workspace.Blobs}, {packages, workspace.Packages},
	} {
		if or(k.given, false) {
			kinds = append(kinds, k.kind)
		}
	}
	switch {
	case or(all, false):
		kinds = workspace.AllKinds()
	case len(kinds) == 0:
		kinds = []workspace.Kind{workspace.Builds}
	}
	return asRoot(ctx, flags{cache: cache}, func(ctx context.Context, o pipeline.Options) error {
		return o.Clean(ctx, kinds)
	})
}
