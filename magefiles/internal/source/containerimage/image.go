package containerimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/cubeos-app/releases/magefiles/internal/sys/ctxio"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const parallelBlobs = 3

// resolve returns the digest of the manifest that ref names for the devices.
func (s *store) resolve(ctx context.Context, ref name.Tag) (v1.Hash, error) {
	doc, err := s.source.manifest(ctx, ref)
	if err != nil {
		return v1.Hash{}, err
	}
	if !doc.isIndex() {
		// A single manifest says no platform, its configuration does.
		_, err := s.open(ctx, ref.Repository, doc.digest)
		return doc.digest, err
	}
	var among selection
	if err := s.choose(ctx, ref.Repository, doc, 1, &among); err != nil {
		return v1.Hash{}, err
	}
	if among.best == (candidate{}) {
		slices.Sort(among.offered)
		return v1.Hash{}, &platformError{s.arm, slices.Compact(among.offered)}
	}
	return among.best.digest, nil
}

// image is one that is read from the blob cache; its layers may have to be
// fetched before they are read.
type image struct {
	blobs    blobs
	raw      []byte
	manifest *v1.Manifest
	config   []byte
	diffIDs  []v1.Hash  // of the layers as they are unpacked, as the configuration tells
	arm      armVersion // that it is made for
}

// open returns the image of a manifest digest with manifest and configuration
// in the cache, and makes sure that it is one for the devices.
func (s *store) open(ctx context.Context, repo name.Repository, digest v1.Hash) (*image, error) {
	raw, err := s.manifest(ctx, digest, func(w io.Writer) error {
		doc, err := s.source.manifest(ctx, repo.Digest(digest.String()))
		if err != nil {
			return err
		}
		_, err = w.Write(doc.raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	manifest, err := v1.ParseManifest(strings.NewReader(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", digest, err)
	}
	if manifest.Config.Digest == (v1.Hash{}) || !manifest.Config.MediaType.IsConfig() {
		return nil, fmt.Errorf("%s (%s): %w: %s", digest, manifest.MediaType, errNoImage, updateHint)
	}
	if err := s.fetch(ctx, repo, manifest.Config.Digest, nil); err != nil {
		return nil, fmt.Errorf("fetching its configuration: %w", err)
	}
	config, err := os.ReadFile(s.blobs.path(manifest.Config.Digest))
	if err != nil {
		return nil, fmt.Errorf("reading its configuration: %w", err)
	}
	file, err := v1.ParseConfigFile(strings.NewReader(string(config)))
	if err != nil {
		return nil, fmt.Errorf("reading its configuration: %w", err)
	}
	platform := v1.Platform{OS: file.OS, Architecture: file.Architecture, Variant: file.Variant}
	arm, ok := s.suits(platform)
	if !ok {
		return nil, &platformError{s.arm, []string{platform.String()}}
	}
	if layers, ids := len(manifest.Layers), len(file.RootFS.DiffIDs); layers != ids {
		return nil, fmt.Errorf("it is broken: its manifest %s has %d layers, its configuration tells of %d: choose another tag", digest, layers, ids)
	}
	return &image{blobs: s.blobs, raw: raw, manifest: manifest, config: config, diffIDs: file.RootFS.DiffIDs, arm: arm}, nil
}

var errNoImage = errors.New("no image manifest")

// manifest returns the content of a manifest, written by write if it is not in
// the cache.
func (s *store) manifest(ctx context.Context, h v1.Hash, write func(io.Writer) error) ([]byte, error) {
	if ok, err := s.blobs.have(h); err != nil {
		return nil, err
	} else if !ok {
		if err := s.blobs.add(ctx, h, write); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile(s.blobs.path(h))
	if err != nil {
		return nil, fmt.Errorf("reading cached blob: %w", err)
	}
	return data, nil
}

// fetch gets one blob into the cache. task, if any, counts the bytes that come.
func (s *store) fetch(ctx context.Context, repo name.Repository, h v1.Hash, task *progress.Task) error {
	if ok, err := s.blobs.have(h); err != nil || ok {
		return err
	}
	return s.source.blob(ctx, repo, h, func(write func(io.Writer) error) error {
		var came int64
		err := s.blobs.add(ctx, h, func(w io.Writer) error {
			return write(writerFunc(func(p []byte) (int, error) {
				n, err := w.Write(p)
				came += int64(n)
				if task != nil {
					task.Add(int64(n))
				}
				return n, err
			}))
		})
		if err != nil && task != nil {
			task.Add(-came) // it comes again
		}
		return err
	})
}

// fetchLayers gets all layers of img into the cache.
func (s *store) fetchLayers(ctx context.Context, repo name.Repository, img *image, label string) error {
	missing, total := []v1.Hash{}, int64(0)
	for _, l := range img.manifest.Layers {
		ok, err := s.blobs.have(l.Digest)
		if err != nil {
			return err
		}
		if !ok && !slices.Contains(missing, l.Digest) {
			missing, total = append(missing, l.Digest), total+l.Size
		}
	}
	if len(missing) == 0 {
		return nil
	}
	task := s.reporter.Task(label, total)
	defer task.End()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelBlobs)
	for _, h := range missing {
		g.Go(func() error { return s.fetch(ctx, repo, h, task) })
	}
	return g.Wait()
}

// checkLayers unpacks every layer and compares it with what the configuration
// says of it, as `docker load` does: there it would fail only on the device.
func (i *image) checkLayers(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelBlobs)
	for n, l := range i.manifest.Layers {
		g.Go(func() error {
			unpacked, err := partial.CompressedToLayer(&layer{path: i.blobs.path(l.Digest), desc: l})
			if err != nil {
				return err
			}
			content, err := unpacked.Uncompressed()
			if err != nil {
				return fmt.Errorf("unpacking layer %s: %w", l.Digest, err)
			}
			defer content.Close()
			sum := sha256.New()
			if _, err := io.Copy(ctxio.Writer(ctx, sum), content); err != nil {
				return fmt.Errorf("unpacking layer %s: %w", l.Digest, err)
			}
			if got, want := hex.EncodeToString(sum.Sum(nil)), i.diffIDs[n]; got != want.Hex {
				return fmt.Errorf("it is broken: layer %d, %s, holds sha256:%s, but its configuration tells of %s: choose another tag", n+1, l.Digest, got, want)
			}
			return nil
		})
	}
	return g.Wait()
}

// The methods of partial.CompressedImageCore, from which v1.Image is made.

func (i *image) MediaType() (types.MediaType, error) { return i.manifest.MediaType, nil }
func (i *image) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *image) RawConfigFile() ([]byte, error)      { return i.config, nil }

func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range i.manifest.Layers {
		if l.Digest == h {
			return &layer{path: i.blobs.path(h), desc: l}, nil
		}
	}
	return nil, errors.New("no layer " + h.String())
}

type layer struct {
	path string
	desc v1.Descriptor
}

func (l *layer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *layer) Compressed() (io.ReadCloser, error)  { return os.Open(l.path) }
func (l *layer) Descriptor() (*v1.Descriptor, error) { return &l.desc, nil }
