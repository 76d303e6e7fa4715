package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/assist"
	"github.com/cubeos-app/releases/magefiles/internal/disk"
	"github.com/cubeos-app/releases/magefiles/internal/rootfs"
)

// Reproducible builds the image twice, each time from nothing but downloads,
// and returns an error that says where the two differ.
func (b *Build) Reproducible(ctx context.Context) (err error) {
	dir, remove, err := b.scratch(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	_, err = b.reproducible(ctx, dir)
	return err
}

// Proofs is Reproducible and Sameness, for which the second build is the native
// one.
func (b *Build) Proofs(ctx context.Context) (err error) {
	if !assist.Supported() {
		b.Log.Printf("on this machine no programs are lent, so native and emulated cannot be compared")
		return b.Reproducible(ctx)
	}
	if _, err := b.lenderToJudge(ctx); err != nil {
		return err
	}
	dir, remove, err := b.scratch(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	native, err := b.reproducible(ctx, dir)
	if err != nil {
		return err
	}
	return b.sameEmulated(ctx, native, dir)
}

// image is a finished image and what is known of it.
type image struct {
	path     string
	manifest artifact.Manifest
}

// reproducible returns the second of its builds.
func (b *Build) reproducible(ctx context.Context, dir string) (last provisioned, err error) {
	var images [2]image
	for i := range images {
		fresh, err := b.anew(ctx, filepath.Join(dir, fmt.Sprint(i+1)))
		if err != nil {
			return last, err
		}
		b.Log.Printf("build %d of %d, from nothing but downloads", i+1, len(images))
		if last, images[i], err = fresh.all(ctx); err != nil {
			return last, err
		}
		if i == 0 {
			// Only its image is compared.
			err := errors.Join(os.RemoveAll(fresh.store.Dir), os.RemoveAll(filepath.Join(fresh.Cache, "base")))
			if err != nil {
				return last, err
			}
		}
	}
	return last, b.mustBeSame(ctx, images[0], images[1], dir)
}

func (b *Build) mustBeSame(ctx context.Context, first, second image, dir string) error {
	same := func(what string, x, y artifact.File) bool {
		b.Log.Printf("sha256 of the %s: %s, %s", what, x.SHA256, y.SHA256)
		return x.SHA256 == y.SHA256
	}
	if !same("raw image", first.manifest.RawImage, second.manifest.RawImage) {
		return b.explain(ctx, first.path, second.path, dir)
	}
	if !same("block map", first.manifest.BlockMap, second.manifest.BlockMap) {
		return errors.New("of the same image, a second block map is different")
	}
	if !same("compressed image", first.manifest.Compressed, second.manifest.Compressed) {
		return errors.New("of the same image, a second compression is different")
	}
	b.Log.Printf("both builds gave the same image, bit for bit")
	return nil
}

// all makes the compressed image and what belongs to it, with no stage that
// could be up to date.
func (b *Build) all(ctx context.Context) (p provisioned, img image, err error) {
	if err := b.ContainerImages(ctx); err != nil {
		return p, img, err
	}
	job, err := b.job(ctx)
	if err != nil {
		return p, img, err
	}
	lender, err := b.native(ctx)
	if err != nil {
		return p, img, err
	}
	if p, err = b.provision(ctx, job, lender); err != nil {
		return p, img, err
	}
	if err := b.embedded(lender).Pack(ctx, job, p.layers); err != nil {
		return p, img, err
	}
	if err := b.compress(ctx); err != nil {
		return p, img, err
	}
	m, err := artifact.ReadManifest(b.names.Manifest)
	return p, image{b.names.Image, m}, err
}

// explain returns an error that says where two images differ.
func (b *Build) explain(ctx context.Context, first, second, dir string) error {
	var manifests [2]rootfs.Manifest
	for i, img := range []string{first, second} {
		mounts := filepath.Join(dir, fmt.Sprint("files-", i+1))
		if err := os.Mkdir(mounts, 0o755); err != nil {
			return err
		}
		files, err := disk.OpenFiles(ctx, img, mounts)
		if err != nil {
			return err
		}
		if manifests[i], err = rootfs.ReadManifest(ctx, files); err != nil {
			return err
		}
	}
	if err := judge(b.Log.Printf, manifests[0].Differences(manifests[1]), nil); err != nil {
		return fmt.Errorf("the two builds are not the same; %w", err)
	}
	offset, err := firstDifference(first, second)
	if err != nil {
		return err
	}
	where, err := disk.Locate(ctx, first, offset)
	return errors.Join(fmt.Errorf("the two builds hold the same files, but from byte %d on they differ: %s", offset, where), err)
}

// firstDifference returns where the contents of two files begin to differ.
func firstDifference(a, b string) (int64, error) {
	var files [2]*os.File
	for i, path := range []string{a, b} {
		f, err := os.Open(path)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		files[i] = f
	}
	var read [2][]byte
	for offset := int64(0); ; offset += int64(len(read[0])) {
		for i, f := range files {
			read[i] = make([]byte, 1<<20)
			n, err := io.ReadFull(f, read[i])
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return 0, err
			}
			read[i] = read[i][:n]
		}
		if bytes.Equal(read[0], read[1]) && len(read[0]) > 0 {
			continue
		}
		for i := range min(len(read[0]), len(read[1])) {
			if read[0][i] != read[1][i] {
				return offset + int64(i), nil
			}
		}
		return offset + int64(min(len(read[0]), len(read[1]))), nil
	}
}
