package pipeline

import (
	"context"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/testkernel"
)

// TestKernel makes what an image is booted with whose own kernel the emulated machine
// can not run. It is there until Close.
func (b *Build) TestKernel(ctx context.Context, flavour testkernel.Flavour) (testkernel.Kernel, error) {
	p := testkernel.Provider{Suite: b.values.suite, Mirror: b.values.mirror, Store: b.store, Archives: b.archives, Log: b.Log}
	return p.Kernel(ctx, flavour)
}
