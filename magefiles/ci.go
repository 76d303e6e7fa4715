//go:build mage

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/cubeos-app/releases/magefiles/internal/release/gitlab"
)

// CI does what a GitLab job is for, from GitLab's variables: checks on a push, the image on a tag or a manual run.
func CI(ctx context.Context) error {
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
