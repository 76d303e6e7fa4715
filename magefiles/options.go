//go:build mage

// The targets of CubeOS Releases: `go tool mage -l` lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

const (
	defaultProfile = "pios"
	labProfile     = "lab"
	labFullProfile = "lab-full"
)

// flags are those that most targets take.
type flags struct {
	profile, version, cache, mirror, refresh, engine, scenario, kernel, device, key *string
	level, limit, jobs                                                              *int
	update, locked, emulate                                                         bool
}

// options resolves flags that were not given.
func (f flags) options(log *progress.Reporter) (pipeline.Options, error) {
	root, err := os.Getwd()
	if err != nil {
		return pipeline.Options{}, err
	}
	cache := or(f.cache, "")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return pipeline.Options{}, err
		}
		cache = filepath.Join(dir, "cubeos")
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return pipeline.Options{}, err
	}
	const gibibyte = 1 << 30
	limit := or(f.limit, workspace.DefaultLimit/gibibyte)
	if limit < 1 {
		return pipeline.Options{}, fmt.Errorf("-limit=%d: the limit of the rootfs layers in the cache is at least 1 GiB; `go tool mage clean -layers` removes them all", limit)
	}
	return pipeline.Options{
		Workspace: workspace.Workspace{Root: root, Cache: workspace.Cache(cache), Log: log},
		Profile:   or(f.profile, defaultProfile),
		Version:   or(f.version, ""),
		Level:     or(f.level, 6),
		Mirror:    or(f.mirror, ""),
		Update:    f.update,
		Locked:    f.locked,
		Emulate:   f.emulate,
		Refresh:   or(f.refresh, ""),
		Limit:     int64(limit) * gibibyte,
		Engine:    or(f.engine, pipeline.EmbeddedEngine),
	}, nil
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// build opens a build and does one thing with it.
func build(ctx context.Context, f flags, groups []host.Group, do func(context.Context, *pipeline.Build) error) error {
	return asRoot(ctx, f, func(ctx context.Context, o pipeline.Options) (err error) {
		b, err := pipeline.Open(ctx, o, groups...)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		return layer.ExplainFull(string(o.Cache), do(ctx, b))
	})
}

// method makes a function of a method of a build.
func method(do func(*pipeline.Build, context.Context) error) func(context.Context, *pipeline.Build) error {
	return func(ctx context.Context, b *pipeline.Build) error { return do(b, ctx) }
}

// asRoot does one thing as root, interruptible.
func asRoot(ctx context.Context, f flags, do func(context.Context, pipeline.Options) error) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	if done, err := elevate(ctx); done {
		return err
	}
	o, err := f.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	return do(ctx, o)
}

// interruptible ends ctx on SIGTERM too, and when mage itself ends: mage passes
// on only an interrupt, and a killed mage would leave this program running.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	_ = unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGTERM), 0, 0, 0)
	return ctx, stop
}
