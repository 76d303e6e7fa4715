package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/sys/git"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// version of the images built here. It does not come from git, so that a
// changed script changes nothing but itself.
const version = "0.0.0-bench"

// session is a benchmark under way: its scratch directory and the builds in it
// that several parts share.
type session struct {
	Options
	scratch workspace.Scratch // all that is made
	clone   string            // of the checkout
	report  Report

	cold     *coldBuild   // memory of fromNothing
	archived *timing.Span // memory of withPackages
}

// needs is what the largest part takes at its peak, measured for the lab image
// and rounded up: two caches, raw images, and an image of 8 GiB with holes.
const needs = 16 << 30

// open takes the scratch directory and copies the checkout into it.
func open(ctx context.Context, o Options) (*session, error) {
	err := host.EnsureInstalled(ctx, host.Needs{
		Groups: []host.Group{host.Build, host.Bench},
		Root:   true,
		Disk:   map[string]int64{string(o.Cache): needs},
	}, o.Log)
	if err != nil {
		return nil, err
	}
	s := &session{Options: o}
	if s.scratch, err = o.OpenScratch(ctx, workspace.BenchScratch); err != nil {
		return nil, err
	}
	s.clone = filepath.Join(s.scratch.Dir, "checkout")
	if err := copyCheckout(ctx, o.Root, s.clone); err != nil {
		return nil, errors.Join(err, s.scratch.Remove())
	}
	return s, nil
}

// copyCheckout clones the repository with its uncommitted changes to tracked files.
func copyCheckout(ctx context.Context, from, to string) error {
	if err := git.Command(from, "clone", "--quiet", "--local", from, to).Run(ctx); err != nil {
		return fmt.Errorf("copying the checkout: %w", err)
	}
	var changes bytes.Buffer
	diff, apply := git.Command(from, "diff", "--binary", "HEAD"), git.Command(to, "apply", "--whitespace=nowarn")
	diff.Stdout, apply.Stdin = &changes, &changes
	err := diff.Run(ctx)
	if err == nil && changes.Len() > 0 {
		err = apply.Run(ctx)
	}
	if err != nil {
		return fmt.Errorf("copying the checkout's uncommitted changes: %w", err)
	}
	return nil
}

// build makes the image, with the named cache inside the scratch directory, and
// returns the record of it.
func (s *session) build(ctx context.Context, cache string, emulate bool) (record *timing.Span, err error) {
	ctx, record = timing.Record(ctx, "build")
	defer record.End()
	b, err := pipeline.Open(ctx, pipeline.Options{
		Workspace: workspace.Workspace{Root: s.clone, Cache: s.cache(cache), Log: s.Log},
		Profile:   s.Profile, Version: version, Emulate: emulate,
	}, host.Build)
	if err != nil {
		return record, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	return record, b.Image(ctx)
}

func (s *session) cache(name string) workspace.Cache {
	return workspace.Cache(filepath.Join(s.scratch.Dir, "cache", name))
}

// forget removes what builds left in the checkout.
func (s *session) forget() error {
	return errors.Join(
		os.RemoveAll(filepath.Join(s.clone, "build")),
		os.RemoveAll(filepath.Join(s.clone, "docker-images")),
	)
}

// image is the raw image that the last build made.
func (s *session) image() (string, error) {
	r, err := recipe.LoadProfile(s.clone, s.Profile, map[string]string{"version": version})
	if err != nil {
		return "", err
	}
	return r.Source.ImagePath, nil
}
