// Package release makes an image that is fit to be published, with its entry in
// the list that Raspberry Pi Imager reads, and publishes it.
package release

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/proof"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
	"github.com/cubeos-app/releases/magefiles/internal/release/publish"
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

// List puts the image that the manifest describes into build/rpi-imager.json: as
// others will download it, or for what is never released with an address on this
// machine.
func List(b *pipeline.Build, manifest artifact.Manifest) error {
	o, err := offerOf(b.Recipe)
	if err != nil {
		return err
	}
	list := filepath.Join(b.Dir, publish.Stable.File())
	put, try := imagerlist.Trial, "rpi-imager --repo "+list
	if manifest.Publishable {
		put, try = imagerlist.Release, "`go tool mage publish` puts it there"
		o.Listing, err = o.released(manifest)
	} else {
		o.Listing, err = o.trial(b.Names)
	}
	if err != nil {
		return err
	}
	if err := put(list, manifest, o.Listing); err != nil {
		return fmt.Errorf("updating %s: %w", list, err)
	}
	b.Log.Printf("%s offers %s: %s", list, o.URL, try)
	return nil
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

			Capabilities: v.Strings("imager_capabilities"),
		},
		baseURL: v.String("release_url_base"),
	}
	places, err := Places(r)
	if err := errors.Join(v.Err(), err); err != nil {
		return o, err
	}
	return o, o.checkAddress(r, places)
}

// Places returns where the recipe publishes to.
func Places(r *recipe.Recipe) ([]publish.Place, error) {
	v := r.Variables()
	var places []publish.Place
	var problems []recipe.Problem
	for _, text := range v.Strings("publish_to") {
		place, err := publish.ParsePlace(text)
		if err != nil {
			problems = append(problems, recipe.Problem{At: r.VariableAt("publish_to"), Summary: "No place to publish to", Detail: err.Error() + "."})
		}
		places = append(places, place)
	}
	return places, errors.Join(v.Err(), r.Refuse(problems...))
}

// checkAddress refuses an address at which nothing would be published.
func (o offer) checkAddress(r *recipe.Recipe, places []publish.Place) error {
	var addresses []string
	for _, p := range places {
		addresses = append(addresses, p.Downloads())
	}
	if len(addresses) == 0 || slices.Contains(addresses, o.baseURL) {
		return nil
	}
	return r.Refuse(recipe.Problem{
		At:      r.VariableAt("release_url_base"),
		Summary: "Another address",
		Detail:  fmt.Sprintf("The address of releases is %q, but where publish_to puts them it is %s.", o.baseURL, strings.Join(addresses, " or ")),
	})
}

// released is the listing of the image where everybody will find it.
func (o offer) released(manifest artifact.Manifest) (l imagerlist.Listing, err error) {
	base := strings.ReplaceAll(o.baseURL, "{version}", manifest.Version)
	l = o.Listing
	var xzErr, mapErr error
	l.URL, xzErr = imagerlist.DownloadURL(base, manifest.Compressed.Name)
	l.BlockMapURL, mapErr = imagerlist.DownloadURL(base, manifest.BlockMap.Name)
	return l, errors.Join(xzErr, mapErr)
}

// trial is the listing of the image for Raspberry Pi Imager on this machine alone.
func (o offer) trial(names artifact.Names) (l imagerlist.Listing, err error) {
	l = o.Listing
	var xzErr, mapErr error
	l.URL, xzErr = imagerlist.FileURL(names.XZ)
	l.BlockMapURL, mapErr = imagerlist.FileURL(names.BlockMap)
	return l, errors.Join(xzErr, mapErr)
}
