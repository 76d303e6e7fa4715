//go:build mage

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/scenario"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
)

// Boot starts the finished image in an emulator and proves that it works; report and logs are in build/boot.
//
// -scenario=NAME,NAME puts it through other scenarios than first boot, reboot and
// power off; core are those CI runs, all is all. -jobs=N runs N machines at once,
// by default as many as processors and memory allow. `mage scenarios` lists them.
func Boot(ctx context.Context, profile, version, cache, refresh, engine, scenario *string, level, limit, jobs *int) error {
	return boot(ctx, flags{
		profile: profile, version: version, cache: cache, refresh: refresh, engine: engine,
		scenario: scenario, level: level, limit: limit, jobs: jobs,
	})
}

func boot(ctx context.Context, f flags) error {
	o, err := f.bootOptions()
	if err != nil {
		return err
	}
	return build(ctx, f, []host.Group{host.Build, host.Boot}, func(ctx context.Context, b *pipeline.Build) error {
		return proof.Boot(ctx, b, o)
	})
}

// bootOptions resolves the flags that say what the image is put through.
func (f flags) bootOptions() (proof.BootOptions, error) {
	chosen, err := scenario.Named(cmp.Or(or(f.scenario, ""), scenario.Operational().Name))
	return proof.BootOptions{Scenarios: chosen, Jobs: or(f.jobs, 0)}, err
}

// Scenarios lists what an image can be put through.
func Scenarios() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tSTARTS FROM\tCORE\tWHAT IT SHOWS")
	for _, sc := range scenario.All() {
		inCore := ""
		if sc.Core {
			inCore = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", sc.Name, sc.From, inCore, sc.About)
	}
	return w.Flush()
}

// Demo builds the lab image, which needs nothing but a Debian mirror, and boots it.
func Demo(ctx context.Context, cache, refresh *string, limit *int) error {
	return boot(ctx, flags{profile: ptr(labProfile), cache: cache, refresh: refresh, level: ptr(demoLevel), limit: limit})
}

// bootCore puts the lab image through the scenarios CI runs.
func bootCore(ctx context.Context) error {
	return boot(ctx, flags{profile: ptr(labProfile), level: ptr(demoLevel), scenario: ptr("core")})
}

// demoLevel compresses lightly: the archive of a demo is unpacked once, by its boot.
const demoLevel = 0

func ptr[T any](v T) *T { return &v }
