package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/build/packer"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
)

// The engines that can run the recipe.
const (
	EmbeddedEngine = "embedded"
	PackerEngine   = "packer"
)

func checkEngine(name string) error {
	if engines := []string{EmbeddedEngine, PackerEngine}; !slices.Contains(engines, name) {
		return fmt.Errorf("there is no engine %q; there are %s", name, strings.Join(engines, " and "))
	}
	return nil
}

// checkBuilder finds out early whether the Packer engine has its builder.
func (b *Build) checkBuilder() error {
	if b.Engine != PackerEngine {
		return nil
	}
	_, err := b.builder()
	return err
}

// imageInputs is what the image is made from.
func (b *Build) imageInputs(job build.Job) (map[string]string, error) {
	inputs, err := embedded.Inputs(job)
	if err != nil || b.Engine == EmbeddedEngine {
		return inputs, err
	}
	builder, err := b.builder()
	if err != nil {
		return nil, err
	}
	inputs["engine"] = PackerEngine + " in " + builder.Reference
	inputs["recipe"], err = b.Recipe.Digest()
	return inputs, err
}

// engine returns the engine that was chosen.
func (b *Build) engine(ctx context.Context) (build.Engine, error) {
	if b.Engine == EmbeddedEngine {
		overlay, err := b.native.Overlay(ctx)
		return b.embedded(overlay), err
	}
	builder, err := b.builder()
	return packer.Engine{
		Builder:  builder,
		Pin:      b.pinBuilder,
		Root:     b.Root,
		Template: filepath.Join("packer", "cubeos.pkr.hcl"),
		VarFile:  filepath.Join("packer", b.Profile+".pkrvars.hcl"),
		Vars:     map[string]string{"version": b.Version},
		Lock:     LockFile(b.Root),
		Log:      b.Log,
	}, err
}

func (b *Build) builderLock() string { return filepath.Join(b.Root, "packer", "builder.lock") }

// builder is the container image that Packer comes in.
func (b *Build) builder() (packer.Builder, error) {
	list := filepath.Join(b.Root, "packer", "builder.txt")
	entries, err := containerimage.ReadList(list)
	if err != nil {
		return packer.Builder{}, err
	}
	if len(entries) != 1 {
		return packer.Builder{}, fmt.Errorf("%s has to name one image, not %d", list, len(entries))
	}
	locked, err := containerimage.ReadLock(b.builderLock())
	if err != nil {
		return packer.Builder{}, err
	}
	builder := packer.Builder{Reference: entries[0].Reference}
	for _, l := range locked {
		if l.Reference == builder.Reference {
			builder.Digest = l.Digest
		}
	}
	if b.Locked && builder.Digest == "" {
		return builder, errors.New("no digest of the builder's image is pinned: build once with -engine=packer, and commit packer/builder.lock")
	}
	return builder, nil
}

// pinBuilder keeps the digest that a tag stood for.
func (b *Build) pinBuilder(digest string) error {
	entries, err := containerimage.ReadList(filepath.Join(b.Root, "packer", "builder.txt"))
	if err != nil {
		return err
	}
	b.Log.Printf("%s has a new digest: commit it, so that the next build uses the same builder", b.builderLock())
	return containerimage.WriteLock(b.builderLock(), []containerimage.Locked{{Entry: entries[0], Digest: digest}})
}
