package containerimage

import (
	"context"
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

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const parallelBlobs = 3

func platform() v1.Platform { return v1.Platform{OS: "linux", Architecture: "arm64"} }

// resolve returns the digest of the linux/arm64 manifest that ref names.
func (s *store) resolve(ctx context.Context, ref name.Tag) (v1.Hash, error) {
	desc, err := s.source.manifest(ctx, ref)
	if err != nil {
		return v1.Hash{}, err
	}
	if !desc.MediaType.IsIndex() {
		// A single manifest says no platform, its configuration does.
		_, err := s.open(ctx, ref.Repository, desc.Digest)
		return desc.Digest, err
	}
	index, err := v1.ParseIndexManifest(strings.NewReader(string(desc.Manifest)))
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading its index: %w", err)
	}
	var offered []string
	for _, m := range index.Manifests {
		switch {
		case m.Platform == nil || m.Platform.Architecture == "unknown": // an attestation
		case m.Platform.Satisfies(platform()) && m.MediaType.IsImage():
			return m.Digest, nil
		default:
			offered = append(offered, m.Platform.String())
		}
	}
	slices.Sort(offered)
	return v1.Hash{}, &platformError{offered}
}

type platformError struct{ offered []string }

func (e *platformError) Error() string {
	offered := strings.Join(e.offered, ", ")
	if offered == "" {
		offered = "no platform"
	}
	return "it is not made for linux/arm64, only for " + offered + ": choose a tag that is"
}

// image is one that is read from the blob cache; its layers may have to be
// fetched before they are read.
type image struct {
	blobs    blobs
	raw      []byte
	manifest *v1.Manifest
	config   []byte
}

// open returns the image of a manifest digest with manifest and configuration
// in the cache, and makes sure that it is one for linux/arm64.
func (s *store) open(ctx context.Context, repo name.Repository, digest v1.Hash) (*image, error) {
	raw, err := s.document(ctx, digest, func(w io.Writer) error {
		desc, err := s.source.manifest(ctx, repo.Digest(digest.String()))
		if err != nil {
			return err
		}
		_, err = w.Write(desc.Manifest)
		return err
	})
	if err != nil {
		return nil, err
	}
	manifest, err := v1.ParseManifest(strings.NewReader(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("reading manifest %s: %w", digest, err)
	}
	if manifest.Config.Digest == (v1.Hash{}) {
		return nil, fmt.Errorf("%s is no image manifest (%s): %s", digest, manifest.MediaType, updateHint)
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
	if file.OS != "linux" || file.Architecture != "arm64" {
		return nil, &platformError{[]string{file.OS + "/" + file.Architecture}}
	}
	return &image{blobs: s.blobs, raw: raw, manifest: manifest, config: config}, nil
}

// document returns the content of a small blob, written by write if it is not
// in the cache.
func (s *store) document(ctx context.Context, h v1.Hash, write func(io.Writer) error) ([]byte, error) {
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
