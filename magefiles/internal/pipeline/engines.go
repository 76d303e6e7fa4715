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
		Pin:      func(digest string) error { return packer.PinBuilder(b.Root, digest, b.Log) },
		Root:     b.Root,
		Template: filepath.Join("packer", "cubeos.pkr.hcl"),
		VarFile:  filepath.Join("packer", b.Profile+".pkrvars.hcl"),
		Vars:     map[string]string{"version": b.Version},
		Lock:     b.LockFile(),
		Log:      b.Log,
	}, err
}

// builder is the container image that Packer comes in.
func (b *Build) builder() (packer.Builder, error) {
	builder, err := packer.ReadBuilder(b.Root)
	if err == nil && b.Locked && builder.Digest == "" {
		err = errors.New("no digest of the builder's image is pinned: build once with -engine=packer, and commit packer/builder.lock")
	}
	return builder, err
}
