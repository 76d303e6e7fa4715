//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/bench"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Bench measures builds against each other and against the usual ways, prints tables and writes build/bench.json.
//
// It takes the lab profile and half an hour, and touches neither build/ nor
// cache but for a scratch directory. -only=NAME measures one thing: profile,
// builds, native, pack or growth. -runs is how often what takes seconds is
// repeated for a median, by default 3.
func Bench(ctx context.Context, profile, cache, only *string, runs *int) (err error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	if done, err := elevate(ctx); done {
		return err
	}
	o, err := flags{profile: new(or(profile, labProfile)), cache: cache}.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	report, err := bench.Run(ctx, bench.Options{
		Workspace: o.Workspace, Profile: o.Profile, Only: or(only, ""), Runs: or(runs, 3),
	})
	fmt.Print(report.Markdown())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.BuildDir(), 0o755); err != nil {
		return err
	}
	return errors.Join(report.Write(filepath.Join(o.BuildDir(), "bench.json")), o.RestoreOwner())
}
