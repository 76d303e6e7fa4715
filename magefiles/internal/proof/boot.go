package proof

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/scenario"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// BootOptions say what an image is put through, and how.
type BootOptions struct {
	Scenarios string // names and sets, separated by commas; "" is scenario.Default
	Jobs      int    // machines at once, 0: as many as fit
	Kernel    boottest.Kernel
}

// Boot makes the compressed image and proves that what is in it works: it is
// unpacked, checked against its build manifest, and put through scenarios.
func Boot(ctx context.Context, b *pipeline.Build, o BootOptions) error {
	if _, err := scenario.Named(cmp.Or(o.Scenarios, scenario.Default), b.Services); err != nil {
		return err
	}
	if err := b.Compress(ctx); err != nil {
		return err
	}
	manifest, err := artifact.ReadManifest(b.Names.Manifest)
	if err != nil {
		return err
	}
	return boot(ctx, b, card.Artifact{
		XZPath:    b.Names.XZ,
		RawSHA256: manifest.RawImage.SHA256,
		RawSize:   manifest.RawImage.Size,
	}, filepath.Join(b.Dir, "boot"), o)
}

// BootArtifact proves the same of an image from elsewhere that has the services of
// the build's profile; report and evidence are in dir.
func BootArtifact(ctx context.Context, b *pipeline.Build, a card.Artifact, dir, scenarios string) error {
	return boot(ctx, b, a, dir, BootOptions{Scenarios: scenarios})
}

func boot(ctx context.Context, b *pipeline.Build, a card.Artifact, dir string, o BootOptions) error {
	settings, err := settingsOf(b.Recipe)
	if err != nil {
		return err
	}
	chosen, err := scenario.Named(cmp.Or(o.Scenarios, scenario.Default), b.Services)
	if err != nil {
		return err
	}
	report, err := boottest.Run(ctx, boottest.Options{
		Artifact:   a,
		Settings:   settings,
		InitFormat: b.InitFormat(),
		WorkDir:    dir,
		Services:   b.Services,
		Scenarios:  chosen,
		Origin:     scenario.Operational(b.Services),
		Jobs:       o.Jobs,
		Kernel:     o.Kernel,
		TestKernel: b.TestKernel,
		Reporter:   b.Log,
	})
	if report != nil {
		fmt.Fprintln(os.Stdout, report.Table())
	}
	return err
}

// settingsOf is what the recipe says the device is like.
func settingsOf(r *recipe.Recipe) (boottest.Settings, error) {
	v := r.Variables()
	settings := boottest.Settings{
		Hostname: v.String("hostname"), User: v.String("cubeos_user"),
		Locale: v.String("locale"), Timezone: v.String("timezone"),
		UnattendedUpgrades: v.Bool("unattended_upgrades"),
	}
	return settings, v.Err()
}
