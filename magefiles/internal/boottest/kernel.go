package boottest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/testkernel"
)

// KernelReport says which kernel the machines have booted. It is the image's own if
// Test is nil.
type KernelReport struct {
	Own  string             `json:"own"`            // release of the image's own kernel
	Test *testkernel.Kernel `json:"test,omitempty"` // what was booted in its place
	Why  string             `json:"why,omitempty"`
}

// String is one line for people.
func (k KernelReport) String() string {
	if k.Test == nil {
		return "the image's own, " + k.Own
	}
	return fmt.Sprintf("TEST KERNEL %s (%s, sha256 %s), not the image's own %s: %s", k.Test.Release, k.Test.Package, k.Test.SHA256, k.Own, k.Why)
}

// kernelDir is where machines find the test kernel, in the working directory.
const kernelDir = "kernel"

// chooseKernel decides by looking at the image which kernel its machines boot.
func (s *session) chooseKernel(ctx context.Context) (err error) {
	dir := filepath.Join(s.o.WorkDir, kernelDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	boot, err := s.image.Extract(ctx, dir)
	if err != nil {
		return err
	}
	own, lacks, err := s.image.Release(ctx, boot, dir)
	if err != nil {
		return fmt.Errorf("looking which kernel %s has: %w", boot.From, err)
	}
	s.kernel = KernelReport{Own: own}
	flavour := testkernel.Pages4K
	switch {
	case s.o.Kernel == Test16K:
		flavour, s.kernel.Why = testkernel.Pages16K, "pages of 16 KiB, as a Raspberry Pi 5 has them, were asked for"
	case s.o.Kernel == Test:
		s.kernel.Why = "it was asked for"
	case len(lacks) > 0:
		s.kernel.Why = "that has no " + strings.Join(lacks, ", ") + ", without which QEMU's machine does not boot"
	default:
		return os.RemoveAll(dir)
	}
	test, err := s.o.TestKernel(ctx, flavour)
	if err != nil {
		return err
	}
	if test, err = test.CopyTo(dir); err != nil {
		return err
	}
	s.kernel.Test = &test
	return nil
}

// apply has a machine boot the test kernel, if it is to.
func (k KernelReport) apply(boot *machine.Boot) {
	if k.Test != nil {
		boot.Kernel, boot.Initrd = besideMachines(k.Test.Image), besideMachines(k.Test.Initrd)
	}
}

// hardware gives a machine what the test kernel needs.
func (k KernelReport) hardware(spec *machine.Spec) {
	if k.Test == nil {
		return
	}
	spec.Modules = besideMachines(k.Test.Modules)
	if strings.HasSuffix(k.Test.Release, string(testkernel.Pages16K)) {
		spec.CPU = "cortex-a76"
	}
}

// besideMachines is the path of a file of kernelDir as machines see it.
func besideMachines(path string) string {
	return filepath.Join("..", "..", kernelDir, filepath.Base(path))
}
