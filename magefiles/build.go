//go:build mage

package main

import (
	"context"
	"os"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/release"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Download saves the services' container images as archives into docker-images/PROFILE.
//
// -update resolves the tags again that skopeo/images.txt has for the profile's
// services, and writes them to skopeo/images.lock; -mirror=HOST:PORT pulls from a
// registry mirror.
func Download(ctx context.Context, profile, cache, mirror *string, update *bool) error {
	f := flags{profile: profile, cache: cache, mirror: mirror, update: or(update, false)}
	return build(ctx, f, nil, method((*pipeline.Build).ContainerImages))
}

// Base brings the base image into the cache: downloaded and verified, or bootstrapped.
//
// -refresh=base bootstraps it again; -archive=DIR packs one that was bootstrapped
// into DIR as others are published: .img.xz and its .sha256; -limit=GB, here and
// elsewhere, is what the rootfs layers in the cache may occupy when the build ends,
// by default 20.
func Base(ctx context.Context, profile, cache, refresh, archive *string, limit *int, emulate *bool) error {
	f := flags{profile: profile, cache: cache, refresh: refresh, limit: limit, emulate: or(emulate, false)}
	return build(ctx, f, []host.Group{host.Build}, func(ctx context.Context, b *pipeline.Build) error {
		img, err := b.Base(ctx)
		if err == nil && archive != nil {
			img, err = b.ArchiveBase(ctx, *archive)
		}
		if err == nil {
			b.Log.Printf("base image: %s", img.Path)
		}
		return err
	})
}

// Build makes the raw image build/cubeos-VERSION-arm64.img.
//
// -emulate gives the chroot none of this machine's programs. -refresh=NAME runs
// the provisioner of that name and all behind it again, for newer packages, and
// -refresh=base bootstraps the base image again, too. -engine=packer runs the
// recipe with Packer in a Docker container instead.
func Build(ctx context.Context, profile, version, cache, refresh, engine *string, limit *int, emulate *bool) error {
	f := flags{profile: profile, version: version, cache: cache, refresh: refresh, engine: engine, limit: limit, emulate: or(emulate, false)}
	return build(ctx, f, []host.Group{host.Build}, method((*pipeline.Build).Image))
}

// Compress makes the .img.xz of the image, its checksum, block map and build manifest.
//
// -level is xz's, 0 to 9.
func Compress(ctx context.Context, profile, version, cache, refresh, engine *string, level, limit *int) error {
	f := flags{profile: profile, version: version, cache: cache, refresh: refresh, engine: engine, level: level, limit: limit}
	return build(ctx, f, []host.Group{host.Build}, method((*pipeline.Build).Compress))
}

// Imager writes the image's entry into build/rpi-imager.json.
func Imager(ctx context.Context, profile, version, cache, refresh, engine *string, level, limit *int) error {
	f := flags{profile: profile, version: version, cache: cache, refresh: refresh, engine: engine, level: level, limit: limit}
	return build(ctx, f, []host.Group{host.Build}, release.Imager)
}

// Release makes and proves everything that is published: image, checksum, block map, manifest and build/rpi-imager.json.
//
// It is put through all scenarios; -scenario=NAME,NAME takes others.
func Release(ctx context.Context, profile, version, cache, refresh, engine, scenario *string, limit, jobs *int) error {
	return makeRelease(ctx, flags{
		profile: profile, version: version, cache: cache, refresh: refresh, engine: engine,
		scenario: scenario, limit: limit, jobs: jobs,
	})
}

func makeRelease(ctx context.Context, f flags) error {
	f.locked = true
	if f.scenario == nil {
		f.scenario = new("all")
	}
	o, err := f.bootOptions()
	if err != nil {
		return err
	}
	return build(ctx, f, []host.Group{host.Build, host.Boot}, func(ctx context.Context, b *pipeline.Build) error {
		return release.Run(ctx, b, o)
	})
}

// Publish uploads what release has made to where the recipe says, makes it visible and then puts it into the lists for Raspberry Pi Imager.
//
// It builds nothing and needs no root. Run again, it goes on where it was cut
// off; what is published is never changed. -check looks for all that stands in
// the way and prints the release notes, and changes nothing. Tokens are taken
// from the environment: GITHUB_TOKEN, and GITLAB_TOKEN or in a job CI_JOB_TOKEN.
func Publish(ctx context.Context, profile, version *string, check *bool) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	o, err := flags{profile: profile, version: version}.options(progress.New(os.Stderr))
	if err != nil {
		return err
	}
	return release.Publish(ctx, release.PublishOptions{
		Workspace: o.Workspace, Profile: o.Profile, Version: o.Version, Check: or(check, false), Getenv: os.Getenv,
	})
}
