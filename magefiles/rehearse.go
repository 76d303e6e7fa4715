//go:build mage

package main

import (
	"context"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof"
	"github.com/cubeos-app/releases/magefiles/internal/rehearsal"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
)

const rehearsalProfile = "rehearsal"

// Rehearse goes the whole road of a release, with profile pios, on a machine that reaches nothing but a Debian mirror; all of it is in build/rehearsal.
//
// Of the profile only addresses are changed, in a clone of what is committed: a
// base image that behaves like Raspberry Pi OS, Docker's repository, a registry and
// GitHub are on this machine, over TLS. `mage download`, `release` and `publish`
// run in it, and the published image is downloaded by its list, verified and booted.
// -scenario=NAME,NAME is what the release is put through.
func Rehearse(ctx context.Context, cache, scenario *string, limit *int) error {
	f := flags{profile: new(rehearsalProfile), cache: cache, limit: limit, scenario: scenario}
	o, err := f.bootOptions()
	if err != nil {
		return err
	}
	return build(ctx, f, []host.Group{host.Build, host.Boot}, func(ctx context.Context, b *pipeline.Build) error {
		base, err := b.Base(ctx)
		if err != nil {
			return err
		}
		images, err := b.StandIns()
		if err != nil {
			return err
		}
		return rehearsal.Run(ctx, rehearsal.Options{
			Workspace: b.Workspace, BaseImage: base.Path, Suite: b.Suite(), Mirror: b.DebianMirror(), Lab: images, Scenarios: o.Scenarios,
			Boot: func(ctx context.Context, a card.Artifact, dir string) error {
				return proof.BootArtifact(ctx, b, a, dir, strangersScenario)
			},
		})
	})
}

// strangersScenario is the device of somebody who has flashed a release and nothing
// else at hand.
const strangersScenario = "no-network"
