package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/scenario"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// Boot makes the compressed image and proves that what is in it works: it is
// unpacked, checked against its build manifest, and put through scenarios.
func (b *Build) Boot(ctx context.Context) error {
	chosen, err := scenario.Named(b.Scenario)
	if err != nil {
		return err
	}
	if err := b.Compress(ctx); err != nil {
		return err
	}
	manifest, err := artifact.ReadManifest(b.names.Manifest)
	if err != nil {
		return err
	}
	v := b.Recipe.Variables()
	settings := boottest.Settings{
		Hostname: v.String("hostname"), User: v.String("cubeos_user"),
		Locale: v.String("locale"), Timezone: v.String("timezone"),
		UnattendedUpgrades: v.Bool("unattended_upgrades"),
	}
	if err := v.Err(); err != nil {
		return err
	}
	report, err := boottest.Run(ctx, boottest.Options{
		Artifact: card.Artifact{
			XZPath:    b.names.XZ,
			RawSHA256: manifest.RawImage.SHA256,
			RawSize:   manifest.RawImage.Size,
		},
		Settings:   settings,
		InitFormat: manifest.BaseImage.InitFormat,
		WorkDir:    filepath.Join(b.dir, "boot"),
		Scenarios:  chosen,
		Origin:     scenario.Operational(),
		Jobs:       b.Jobs,
		Reporter:   b.Log,
	})
	if report != nil {
		fmt.Fprintln(os.Stdout, report.Table())
	}
	return err
}

// Release makes and proves everything that is published. It refuses to start
// on what could not be published in the end.
func (b *Build) Release(ctx context.Context) error {
	if err := b.publishable(); err != nil {
		return err
	}
	if err := b.Boot(ctx); err != nil {
		return err
	}
	return b.Imager(ctx)
}

func (b *Build) publishable() error {
	var problems []error
	if !b.values.publishable {
		problems = append(problems, fmt.Errorf("images of the profile %s are never released", b.Profile))
	}
	if b.Dirty {
		problems = append(problems, errors.New("the checkout has changes that are not committed; a release has to be repeatable from its commit"))
	}
	return errors.Join(problems...)
}
