//go:build mage

package main

import (
	"context"
	"os"

	"github.com/magefile/mage/mg"

	"github.com/cubeos-app/releases/magefiles/internal/lint"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Aliases lets `mage test` be everything, and `mage ci` what a job is for.
var Aliases = map[string]any{"test": Test.All, "ci": CI.Job}

// Test groups the tests.
type Test mg.Namespace

// All runs everything that must pass: lint, unit and integration tests, the proofs about the build, the lab image in the core scenarios, and the one with all services in its first boot.
func (t Test) All(ctx context.Context) error {
	if done, err := elevate(ctx); done {
		return err
	}
	for _, step := range []func(context.Context) error{Lint, t.Unit, t.Integration, t.Proofs, bootCore, bootFull} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Unit runs the quick tests, which need no root, and looks for races.
func (Test) Unit(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	needs := host.Needs{Groups: []host.Group{host.Test}}
	if err := host.EnsureInstalled(ctx, needs, progress.New(os.Stderr)); err != nil {
		return err
	}
	return goTest(ctx, "-short", "-race", "-timeout=10m", "./magefiles/...")
}

// Integration runs all tests, also those that take long or need root, mounts and the tools of a build.
func (Test) Integration(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if done, err := elevate(ctx); done {
		return err
	}
	log := progress.New(os.Stderr)
	if err := host.EnsureInstalled(ctx, host.Needs{Groups: host.AllGroups(), Kernel: true, Root: true}, log); err != nil {
		return err
	}
	if err := host.SetUpARM64(ctx, log); err != nil {
		return err
	}
	return goTest(ctx, "-tags=mage,integration", "-timeout=60m", "./magefiles/...")
}

// Proofs builds the lab image twice and provisions it once more emulated: all have to be the same.
func (Test) Proofs(ctx context.Context) error {
	return verify(ctx, flags{profile: new(labProfile)}, proof.Both)
}

// Verify groups proofs about the build itself.
type Verify mg.Namespace

// Equivalence provisions natively and emulated and compares the two root file systems, file by file.
func (Verify) Equivalence(ctx context.Context, profile, cache *string) error {
	return build(ctx, flags{profile: profile, cache: cache}, []host.Group{host.Build}, proof.Equivalence)
}

// Reproducible builds the image twice, each time from nothing but downloads, and compares the two bit for bit.
func (Verify) Reproducible(ctx context.Context, profile, cache *string) error {
	return verify(ctx, flags{profile: profile, cache: cache}, proof.Reproducible)
}

// verify compresses lightly: what is compared is whether it comes out the same.
func verify(ctx context.Context, f flags, what func(context.Context, *pipeline.Build) error) error {
	f.level = new(demoLevel)
	return build(ctx, f, []host.Group{host.Build}, what)
}

// Cache reads every rootfs layer in the cache and drops those that were changed or damaged.
func (Verify) Cache(ctx context.Context, cache *string) error {
	return asRoot(ctx, flags{cache: cache}, func(ctx context.Context, o pipeline.Options) error {
		return o.Cache.VerifyLayers(ctx, o.Log)
	})
}

// Contract runs the services' images of a profile in the Docker daemon that `docker` would talk to, and reports where one answers otherwise than its stand-in.
//
// They run as on a device at its first start, but reach neither a network nor that
// daemon; HAL is privileged there, as it is on a device. Nothing of it is left in
// the daemon. -mirror=HOST:PORT pulls from a registry mirror.
func Contract(ctx context.Context, profile, cache, mirror *string) error {
	f := flags{profile: profile, cache: cache, mirror: mirror, locked: true}
	return build(ctx, f, []host.Group{host.Contract}, proof.Contract)
}

// goTest runs go test. The timeouts given to it are each package's, and hold on a
// machine that has eight times as much to do.
func goTest(ctx context.Context, args ...string) error {
	return process.Cmd{
		Argv: append([]string{"go", "test"}, args...),
		// The race detector would wait a second at the end of every package.
		Env:    append(os.Environ(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")),
		Stdout: os.Stdout, Stderr: os.Stderr,
	}.Run(ctx)
}

// Lint checks the sources: gofmt, golangci-lint, deadcode, shellcheck, shfmt, GitLab's pipeline, the documents' links, and the recipe by Packer itself; it changes nothing.
func Lint(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	log := progress.New(os.Stderr)
	if err := host.EnsureInstalled(ctx, host.Needs{Groups: []host.Group{host.Lint}}, log); err != nil {
		return err
	}
	o, err := flags{}.options(log)
	if err != nil {
		return err
	}
	return lint.Run(ctx, o.Cache.NPM(), log)
}
