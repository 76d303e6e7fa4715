//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/magefile/mage/mg"

	"github.com/cubeos-app/releases/magefiles/internal/release/gitlab"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// CI groups what GitLab runs.
type CI mg.Namespace

// Job does what a GitLab job is for, from GitLab's variables: checks on a push, the image on a protected tag or a manual run.
func (CI) Job(ctx context.Context) error {
	job, err := gitlab.Plan(os.Getenv)
	if err != nil {
		return err
	}
	for _, target := range job.Targets {
		switch target {
		case gitlab.Lint:
			err = Lint(ctx)
		case gitlab.Unit:
			err = Test{}.Unit(ctx)
		case gitlab.Release:
			err = makeRelease(ctx, flags{profile: &job.Profile, version: &job.Version})
		case gitlab.Demo:
			err = bootCore(ctx)
		default:
			err = fmt.Errorf("no target is called %s", target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Local runs jobs of .gitlab-ci.yml on this machine, as GitLab would for what is committed: by default the checks.
//
// -job=build-image makes and boots the lab image, as root. The jobs run in a
// clone, without containers, but with this machine's caches: they install what they
// need on this machine.
func (CI) Local(ctx context.Context, job *string) error {
	name := or(job, gitlab.CheckJob)
	if name != gitlab.CheckJob {
		if done, err := elevate(ctx); done {
			return err
		}
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	o, err := flags{}.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	if err := host.EnsureInstalled(ctx, host.Needs{Groups: []host.Group{host.CI}}, o.Log); err != nil {
		return err
	}
	// This machine's caches are what GitLab would restore into the job's.
	cache, cacheErr := os.UserCacheDir()
	modules, modulesErr := process.Output(ctx, "go", "env", "GOMODCACHE")
	if err := errors.Join(cacheErr, modulesErr); err != nil {
		return err
	}
	return gitlab.RunLocally(ctx, gitlab.Local{
		Root: o.Root, Pins: o.Root, Job: name, Cache: o.Cache.NPM(), Output: os.Stdout,
		Variables: map[string]string{gitlab.ProfileVariable: labProfile, "XDG_CACHE_HOME": cache, "GOMODCACHE": modules},
	})
}
