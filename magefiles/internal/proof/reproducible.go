package proof

import (
	"context"
	"errors"
	"fmt"

	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// Reproducible builds the image twice, each time from nothing but downloads, and
// returns an error that says where the two differ.
func Reproducible(ctx context.Context, b *pipeline.Build) (err error) {
	c, err := newComparison(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	second, err := c.isolated("second")
	if err != nil {
		return err
	}
	_, err = c.reproducible(ctx, second)
	return err
}

// reproducible compares second, which finds nothing built before, with another
// such build. It returns how second was provisioned.
func (c *comparison) reproducible(ctx context.Context, second *pipeline.Build) (last pipeline.Provisioned, err error) {
	first, err := c.isolated("first")
	if err != nil {
		return last, err
	}
	c.Log.Printf("build 1 of 2, from nothing but downloads")
	if _, err := buildImage(ctx, first); err != nil {
		return last, err
	}
	// Only its image is compared.
	if err := first.DropLayers(); err != nil {
		return last, err
	}
	c.Log.Printf("build 2 of 2, from nothing but downloads")
	if last, err = buildImage(ctx, second); err != nil {
		return last, err
	}
	if err := compareImages(ctx, first.Names.Image, second.Names.Image, c.scratch.Dir, c.Log); err != nil {
		return last, err
	}
	return last, c.compareArtifacts(ctx, first, second)
}

// buildImage makes the image of a build that finds nothing built before.
func buildImage(ctx context.Context, b *pipeline.Build) (pipeline.Provisioned, error) {
	if err := b.ContainerImages(ctx); err != nil {
		return pipeline.Provisioned{}, err
	}
	job, err := b.Job(ctx)
	if err != nil {
		return pipeline.Provisioned{}, err
	}
	overlay, err := b.Native(ctx)
	if err != nil {
		return pipeline.Provisioned{}, err
	}
	p, err := b.Provision(ctx, job, overlay)
	if err != nil {
		return pipeline.Provisioned{}, err
	}
	return p, b.Image(ctx)
}

// compareArtifacts compresses two builds of the same image.
func (c *comparison) compareArtifacts(ctx context.Context, first, second *pipeline.Build) error {
	var manifests [2]artifact.Manifest
	for i, build := range []*pipeline.Build{first, second} {
		if err := build.Compress(ctx); err != nil {
			return err
		}
		var err error
		if manifests[i], err = artifact.ReadManifest(build.Names.Manifest); err != nil {
			return err
		}
	}
	x, y := manifests[0], manifests[1]
	c.Log.Printf("sha256 of the compressed image: first %s, second %s", x.Compressed.SHA256, y.Compressed.SHA256)
	if x.Compressed != y.Compressed || x.BlockMap != y.BlockMap {
		return fmt.Errorf("made of the same image, these are not the same: %+v, %+v and %+v, %+v", x.Compressed, x.BlockMap, y.Compressed, y.BlockMap)
	}
	c.Log.Printf("both builds gave the same image, bit for bit")
	return nil
}
