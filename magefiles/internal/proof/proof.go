// Package proof proves what is said of builds: that an image boots and works,
// that the same inputs give the same image, and that native programs change
// nothing about it.
package proof

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/native"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// comparison is a build with others like it that it is compared with.
type comparison struct {
	*pipeline.Build
	scratch workspace.Scratch
	others  []*pipeline.Build
}

func newComparison(ctx context.Context, b *pipeline.Build) (*comparison, error) {
	scratch, err := b.OpenScratch(ctx, workspace.VerifyScratch)
	return &comparison{Build: b, scratch: scratch}, err
}

// isolated returns a build that finds nothing built before.
func (c *comparison) isolated(name string) (*pipeline.Build, error) {
	b, err := c.Isolated(filepath.Join(c.scratch.Dir, name))
	if err == nil {
		c.others = append(c.others, b)
	}
	return b, err
}

func (c *comparison) close() error {
	var problems []error
	for _, b := range c.others {
		problems = append(problems, b.Close())
	}
	return errors.Join(append(problems, c.scratch.Remove())...)
}

// Both is Reproducible and Equivalence with one build less. The second of the
// builds that have to be the same is b itself, so that whatever is done with it
// next need not build.
func Both(ctx context.Context, b *pipeline.Build) (err error) {
	if !b.MakesBaseImage() {
		return fmt.Errorf("the base image of the profile %s is not made here, so it cannot be made again", b.Profile)
	}
	if native.Supported() {
		if _, err := requireNative(ctx, b); err != nil {
			return err
		}
	}
	c, err := newComparison(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := b.Rebuild(); err != nil {
		return err
	}
	natively, err := c.reproducible(ctx, b)
	if err != nil {
		return err
	}
	if !native.Supported() {
		b.Log.Printf("this machine has no native programs for the chroot, so native and emulated cannot be compared")
		return nil
	}
	return c.equivalent(ctx, natively)
}
