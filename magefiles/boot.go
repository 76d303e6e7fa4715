//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/scenario"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Boot starts the finished image in an emulator and proves that it works; report and logs are in build/boot.
//
// -scenario=NAME,NAME puts it through other scenarios than first boot, reboot and
// power off; core are those CI runs, all is all. -jobs=N runs N machines at once,
// by default as many as processors and memory allow. `mage scenarios` lists them.
// -kernel=test boots Debian's kernel in place of the image's own, which is what
// happens by itself where the emulated machine can not run that; -kernel=test-16k
// boots the one with pages of 16 KiB, as a Raspberry Pi 5 has them.
//
// -device=cubeos@HOST asks a real device instead, over SSH: all that changes nothing
// on it, or what -scenario names. Nothing is built, and the report is in
// build/hardware. -key=FILE is the key to log in with if it is neither in the SSH agent
// nor one of ~/.ssh.
func Boot(ctx context.Context, profile, version, cache, refresh, engine, scenario, kernel, device, key *string, level, limit, jobs *int) error {
	f := flags{
		profile: profile, version: version, cache: cache, refresh: refresh, engine: engine,
		scenario: scenario, kernel: kernel, device: device, key: key, level: level, limit: limit, jobs: jobs,
	}
	if f.device != nil {
		return bootDevice(ctx, f)
	}
	return boot(ctx, f)
}

// bootDevice needs neither root nor anything of this machine.
func bootDevice(ctx context.Context, f flags) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	d, err := f.deviceOptions()
	if err != nil {
		return err
	}
	o, err := f.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	b, err := pipeline.Read(ctx, o)
	if err != nil {
		return err
	}
	return proof.OnDevice(ctx, b, d)
}

// deviceOptions resolves the flags that say which device is asked, and refuses those
// of builds and of the emulator.
func (f flags) deviceOptions() (proof.DeviceOptions, error) {
	o := proof.DeviceOptions{Key: or(f.key, ""), Scenarios: or(f.scenario, "")}
	var problems []error
	for _, other := range []struct {
		name  string
		given bool
	}{
		{"cache", f.cache != nil}, {"refresh", f.refresh != nil}, {"engine", f.engine != nil}, {"kernel", f.kernel != nil},
		{"level", f.level != nil}, {"limit", f.limit != nil}, {"jobs", f.jobs != nil},
	} {
		if other.given {
			problems = append(problems, fmt.Errorf("-%s has no meaning with -device: nothing is built or emulated", other.name))
		}
	}
	var err error
	if o.Device, err = remote.ParsePlace(*f.device); err != nil {
		problems = append(problems, fmt.Errorf("-device=%w", err))
	}
	list, err := services.Read(".")
	if err == nil && o.Scenarios != "" {
		_, err = scenario.Named(o.Scenarios, list)
	}
	return o, errors.Join(append(problems, err)...)
}

func boot(ctx context.Context, f flags) error {
	if f.key != nil {
		return errors.New("-key is for a device: -device=cubeos@HOST names it")
	}
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
	o := proof.BootOptions{Scenarios: or(f.scenario, scenario.Default), Jobs: or(f.jobs, 0), Kernel: boottest.Kernel(or(f.kernel, string(boottest.Auto)))}
	if !slices.Contains(boottest.Kernels(), o.Kernel) {
		return o, fmt.Errorf("-kernel=%s: there are %q", o.Kernel, boottest.Kernels())
	}
	list, err := services.Read(".")
	if err == nil {
		_, err = scenario.Named(o.Scenarios, list)
	}
	return o, err
}

// Scenarios lists what an image can be put through.
func Scenarios() error {
	list, err := services.Read(".")
	if err != nil {
		return err
	}
	all, err := scenario.All(list)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCENARIO\tSTARTS FROM\tCORE\tON A DEVICE\tWHAT IT SHOWS")
	for _, sc := range all {
		inCore, onDevice := "", ""
		if sc.Core {
			inCore = "yes"
		}
		if phases, _ := sc.OnHardware(); len(phases) > 0 {
			onDevice = "by name"
			if sc.Harmless {
				onDevice = "yes"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", sc.Name, sc.From, inCore, onDevice, sc.About)
	}
	return w.Flush()
}

// Demo builds the lab image, which needs nothing but a Debian mirror, and boots it.
func Demo(ctx context.Context, cache, refresh *string, limit *int) error {
	return boot(ctx, flags{profile: new(labProfile), cache: cache, refresh: refresh, level: new(demoLevel), limit: limit})
}

// bootCore puts the lab image through the scenarios CI runs.
func bootCore(ctx context.Context) error {
	return boot(ctx, flags{profile: new(labProfile), level: new(demoLevel), scenario: new("core")})
}

// bootFull shows that a profile decides by its var-file alone what runs on a
// device: the lab image with the optional services, as far as its sockets.
func bootFull(ctx context.Context) error {
	return boot(ctx, flags{profile: new(labFullProfile), level: new(demoLevel), scenario: new("sockets")})
}

// demoLevel compresses lightly: the archive of a demo is unpacked once, by its boot.
const demoLevel = 0
