package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/native"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// Reproducible builds the image twice, each time from nothing but downloads,
// and returns an error that says where the two differ.
func (b *Build) Reproducible(ctx context.Context) (err error) {
	s, err := b.scratch(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove()) }()
	second, err := b.anew(ctx, s, "second")
	if err != nil {
		return err
	}
	_, err = b.reproducible(ctx, s, second)
	return err
}

// Proofs is Reproducible and Sameness. The second build is the native one, and
// it is b itself, made anew: whatever is done with it next need not build.
func (b *Build) Proofs(ctx context.Context) (err error) {
	if b.values.kind != "bootstrap" {
		return fmt.Errorf("the base image of the profile %s is not made here, so it cannot be made anew", b.Profile)
	}
	if native.Supported() {
		if _, err := b.requireNative(ctx); err != nil {
			return err
		}
	}
	s, err := b.scratch(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.remove()) }()
	b.Refresh, b.store = embedded.RefreshBase, b.store.Rebuilding()
	if err := b.stages.Forget("container-images"); err != nil {
		return err
	}
	natively, err := b.reproducible(ctx, s, b)
	if err != nil {
		return err
	}
	if !native.Supported() {
		b.Log.Printf("this machine has no native programs for the chroot, so native and emulated cannot be compared")
		return nil
	}
	return b.sameEmulated(ctx, natively, s)
}

// reproducible compares second, which finds nothing built before, with a build
// in s. It returns how second was provisioned.
func (b *Build) reproducible(ctx context.Context, s *scratch, second *Build) (last provisioned, err error) {
	first, err := b.anew(ctx, s, "first")
	if err != nil {
		return last, err
	}
	builds := []*Build{first, second}
	for i, build := range builds {
		b.Log.Printf("build %d of %d, from nothing but downloads", i+1, len(builds))
		if last, err = build.imageAnew(ctx); err != nil {
			return last, err
		}
		if i == 0 {
			// Only its image is compared.
			if err := errors.Join(build.store.Close(), os.RemoveAll(build.store.Dir)); err != nil {
				return last, err
			}
		}
	}
	if err := b.sameImage(ctx, first.names.Image, second.names.Image, s.dir); err != nil {
		return last, err
	}
	return last, b.sameArtifacts(ctx, first, second)
}

// imageAnew makes the image of a build that finds nothing built before.
func (b *Build) imageAnew(ctx context.Context) (provisioned, error) {
	if err := b.ContainerImages(ctx); err != nil {
		return provisioned{}, err
	}
	job, err := b.job(ctx)
	if err != nil {
		return provisioned{}, err
	}
	overlay, err := b.native.Overlay(ctx)
	if err != nil {
		return provisioned{}, err
	}
	p, err := b.provision(ctx, job, overlay)
	if err != nil {
		return provisioned{}, err
	}
	return p, b.Image(ctx)
}

func (b *Build) sameImage(ctx context.Context, first, second, dir string) error {
	x, err := stage.FileDigest(first)
	if err != nil {
		return err
	}
	y, err := stage.FileDigest(second)
	if err != nil {
		return err
	}
	b.Log.Printf("sha256 of the raw image: first %s, second %s", x, y)
	if x != y {
		return b.explain(ctx, first, second, dir)
	}
	return nil
}

// sameArtifacts compresses two builds of the same image.
func (b *Build) sameArtifacts(ctx context.Context, first, second *Build) error {
	var manifests [2]artifact.Manifest
	for i, build := range []*Build{first, second} {
		if err := build.Compress(ctx); err != nil {
			return err
		}
		var err error
		if manifests[i], err = artifact.ReadManifest(build.names.Manifest); err != nil {
			return err
		}
	}
	x, y := manifests[0], manifests[1]
	b.Log.Printf("sha256 of the compressed image: first %s, second %s", x.Compressed.SHA256, y.Compressed.SHA256)
	if x.Compressed != y.Compressed || x.BlockMap != y.BlockMap {
		return fmt.Errorf("made of the same image, these are not the same: %+v, %+v and %+v, %+v", x.Compressed, x.BlockMap, y.Compressed, y.BlockMap)
	}
	b.Log.Printf("both builds gave the same image, bit for bit")
	return nil
}

// explain returns an error that says where two images differ.
func (b *Build) explain(ctx context.Context, first, second, dir string) error {
	var manifests [2]chroot.Manifest
	for i, img := range []string{first, second} {
		mounts := filepath.Join(dir, fmt.Sprint("files-", i+1))
		if err := os.Mkdir(mounts, 0o755); err != nil {
			return err
		}
		files, err := diskimage.OpenFiles(ctx, img, mounts)
		if err != nil {
			return err
		}
		if manifests[i], err = chroot.ReadManifest(ctx, files); err != nil {
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
	where, err := diskimage.Locate(ctx, first, offset)
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
