package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
)

// Imager makes the compressed image and puts it into the list that Raspberry
// Pi Imager reads: rpi-imager.json, or for what is never released
// build/rpi-imager.json, with an address on this machine.
func (b *Build) Imager(ctx context.Context) error {
	if err := b.Compress(ctx); err != nil {
		return err
	}
	manifest, err := artifact.Verify(ctx, b.names.Manifest, b.Log)
	if err != nil {
		return err
	}
	if !manifest.Publishable {
		return b.trial(manifest)
	}
	if err := artifact.CheckAssets(artifact.GitHubAssetLimit, b.names.XZ, b.names.BlockMap); err != nil {
		return err
	}
	base := strings.ReplaceAll(b.values.releaseURL, "{version}", b.Version)
	listing := b.listing()
	if listing.URL, err = imagerlist.DownloadURL(base, manifest.Compressed.Name); err != nil {
		return err
	}
	if listing.BlockMapURL, err = imagerlist.DownloadURL(base, manifest.BlockMap.Name); err != nil {
		return err
	}
	list := filepath.Join(b.Root, "rpi-imager.json")
	if _, err := imagerlist.Release(list, manifest, listing); err != nil {
		return fmt.Errorf("updating %s: %w", list, err)
	}
	b.Log.Printf("%s offers %s: commit it once the files are at %s", list, manifest.Compressed.Name, base)
	return nil
}

func (b *Build) trial(manifest artifact.Manifest) (err error) {
	listing := b.listing()
	if listing.URL, err = imagerlist.FileURL(b.names.XZ); err != nil {
		return err
	}
	if listing.BlockMapURL, err = imagerlist.FileURL(b.names.BlockMap); err != nil {
		return err
	}
	list := filepath.Join(b.dir, "rpi-imager.json")
	if _, err := imagerlist.Trial(list, manifest, listing); err != nil {
		return fmt.Errorf("updating %s: %w", list, err)
	}
	b.Log.Printf("%s offers %s to Raspberry Pi Imager on this machine: rpi-imager --repo %s", list, manifest.Compressed.Name, list)
	return nil
}

func (b *Build) listing() imagerlist.Listing {
	return imagerlist.Listing{
		Name:        b.values.imagerName,
		Description: b.values.imagerDescription,
		Icon:        b.values.imagerIcon,
		Website:     b.values.imagerWebsite,
	}
}
