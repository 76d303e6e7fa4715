// Package release publishes an image: it proves it and puts it into the list that
// Raspberry Pi Imager reads.
package release

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
)

// Run makes and proves everything that is published. It refuses to start on what
// could not be published in the end.
func Run(ctx context.Context, b *pipeline.Build, o proof.BootOptions) error {
	if err := b.Publishable(); err != nil {
		return err
	}
	if _, err := offerOf(b.Recipe); err != nil {
		return err
	}
	if err := proof.Boot(ctx, b, o); err != nil {
		return err
	}
	return listVerified(ctx, b)
}

// Imager makes the compressed image and puts it into the list that Raspberry
// Pi Imager reads.
func Imager(ctx context.Context, b *pipeline.Build) error {
	if _, err := offerOf(b.Recipe); err != nil {
		return err
	}
	if err := b.Compress(ctx); err != nil {
		return err
	}
	return listVerified(ctx, b)
}

// listVerified lists the compressed image if it is what its build manifest says.
func listVerified(ctx context.Context, b *pipeline.Build) error {
	manifest, err := artifact.Verify(ctx, b.Names.Manifest, b.Log)
	if err != nil {
		return err
	}
	if manifest.Publishable {
		if err := artifact.CheckAssets(artifact.GitHubAssetLimit, b.Names.XZ, b.Names.BlockMap); err != nil {
			return err
		}
	}
	return List(b, manifest)
}

// List puts the image that the manifest describes into the list that Raspberry
// Pi Imager reads: rpi-imager.json, or for what is never released
// build/rpi-imager.json, with an address on this machine.
func List(b *pipeline.Build, manifest artifact.Manifest) error {
	o, err := offerOf(b.Recipe)
	if err != nil {
		return err
	}
	if manifest.Publishable {
		return o.release(b, manifest)
	}
	return o.trial(b, manifest)
}

// offer is what the recipe says about offering an image for download.
type offer struct {
	imagerlist.Listing
	baseURL string // {version} in it stands for the version
}

func offerOf(r *recipe.Recipe) (offer, error) {
	v := r.Variables()
	o := offer{
		Listing: imagerlist.Listing{
			Name:        v.String("imager_name"),
			Description: v.String("imager_description"),
			Icon:        v.String("imager_icon"),
			Website:     v.String("imager_website"),
			Devices:     v.Strings("imager_devices"),
		},
		baseURL: v.String("release_url_base"),
	}
	return o, v.Err()
}

// release lists the image for everybody.
func (o offer) release(b *pipeline.Build, manifest artifact.Manifest) (err error) {
	base := strings.ReplaceAll(o.baseURL, "{version}", b.Version)
	if o.URL, err = imagerlist.DownloadURL(base, manifest.Compressed.Name); err != nil {
		return err
	}
	if o.BlockMapURL, err = imagerlist.DownloadURL(base, manifest.BlockMap.Name); err != nil {
		return err
	}
	list := filepath.Join(b.Root, "rpi-imager.json")
	if _, err := imagerlist.Release(list, manifest, o.Listing); err != nil {
		return fmt.Errorf("updating %s: %w", list, err)
	}
	b.Log.Printf("%s offers %s: commit it once the files are at %s", list, manifest.Compressed.Name, base)
	return nil
}

// trial lists the image for Raspberry Pi Imager on this machine alone.
func (o offer) trial(b *pipeline.Build, manifest artifact.Manifest) (err error) {
	if o.URL, err = imagerlist.FileURL(b.Names.XZ); err != nil {
		return err
	}
	if o.BlockMapURL, err = imagerlist.FileURL(b.Names.BlockMap); err != nil {
		return err
	}
	list := filepath.Join(b.Dir, "rpi-imager.json")
	if _, err := imagerlist.Trial(list, manifest, o.Listing); err != nil {
		return fmt.Errorf("updating %s: %w", list, err)
	}
	b.Log.Printf("%s offers %s to Raspberry Pi Imager on this machine: rpi-imager --repo %s", list, manifest.Compressed.Name, list)
	return nil
}
