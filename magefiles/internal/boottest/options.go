package boottest

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/testkernel"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const (
	memoryMiB = 2048
	cpus      = 2
	// lifeBound is how long one device may take to go through a scenario.
	lifeBound = 90 * time.Minute
	// roomToGrow is what the device has beyond the image, as an SD card would.
	roomToGrow = 4 << 30
	// qemuMiB is what QEMU needs beyond the guest's memory, translated code above all.
	qemuMiB = 1536
)

// Options say what to boot and how it has to be.
type Options struct {
	Artifact card.Artifact
	// InitFormat is how Raspberry Pi Imager is told to hand its settings over.
	InitFormat string
	Settings   Settings
	Services   services.List // those on the device
	// WorkDir keeps the unpacked image and the running device between runs, and
	// the evidence of the last run, a directory a scenario.
	WorkDir   string
	Scenarios []Scenario
	// Origin is the scenario with the phase that makes the device which others
	// start from. It is played as far as needed if it is not among Scenarios.
	Origin Scenario
	Jobs   int // machines at once; 0: as many as processors and memory allow
	// TestKernel provides what an image is booted with whose own kernel the emulated
	// machine can not run.
	TestKernel func(context.Context, testkernel.Flavour) (testkernel.Kernel, error)
	Kernel     Kernel
	Reporter   *progress.Reporter // nil shows nothing
}

// Kernel is what machines boot.
type Kernel string

// Auto is the image's own kernel, or the test kernel where the emulated machine can
// not run that. The others are a test kernel in any case: with pages of 4 KiB, or
// with those of 16 KiB, and the processor, that a Raspberry Pi 5 has.
const (
	Auto    Kernel = "auto"
	Test    Kernel = "test"
	Test16K Kernel = "test-16k"
)

// Kernels are all there are.
func Kernels() []Kernel { return []Kernel{Auto, Test, Test16K} }

// withDefaults fills in what is zero and reports everything that is wrong.
func (o Options) withDefaults() (Options, error) {
	o.Jobs = cmp.Or(o.Jobs, jobs(cpus, memoryMiB))
	o.Kernel = cmp.Or(o.Kernel, Auto)
	var errs []error
	if !slices.Contains(Kernels(), o.Kernel) {
		errs = append(errs, fmt.Errorf("the kernel to boot is %q; there are %q", o.Kernel, Kernels()))
	}
	if len(o.Scenarios) == 0 {
		errs = append(errs, errors.New("no scenario was given"))
	}
	for _, sc := range o.Scenarios {
		if size := cardSize(sc.Device, o.Artifact.RawSize); size < o.Artifact.RawSize {
			errs = append(errs, fmt.Errorf("scenario %s: the card would have %d bytes, the image has %d", sc.Name, size, o.Artifact.RawSize))
		}
	}
	if _, err := os.Stat(o.Artifact.XZPath); err != nil {
		errs = append(errs, fmt.Errorf("the image to boot: %w; `go tool mage build` and `compress` make it", err))
	}
	if b, err := hex.DecodeString(o.Artifact.RawSHA256); err != nil || len(b) != 32 {
		errs = append(errs, fmt.Errorf("the sha256 of the raw image is %q, expected 64 hex digits", o.Artifact.RawSHA256))
	}
	if o.Artifact.RawSize <= 0 || o.Artifact.RawSize%512 != 0 {
		errs = append(errs, fmt.Errorf("the size of the raw image is %d, expected a multiple of 512", o.Artifact.RawSize))
	}
	if o.WorkDir == "" {
		errs = append(errs, errors.New("no directory to work in was given"))
	}
	for _, tool := range []string{"qemu-system-aarch64", "qemu-img", "qemu-io", "mcopy", "mtype", "sfdisk", "xz", "e2fsck", "debugfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, fmt.Errorf("%w; `go tool mage prereqs` installs it", err))
		}
	}
	return o, errors.Join(errs...)
}

// jobs is how many machines this one can run at once.
func jobs(guestCPUs, guestMiB int) int {
	n := runtime.NumCPU() / guestCPUs
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		free := int((info.Freeram + info.Bufferram) * uint64(info.Unit) >> 20)
		n = min(n, free/(guestMiB+qemuMiB))
	}
	return max(n, 1)
}

func cardSize(d Device, raw int64) int64 {
	switch d.CardSize {
	case 0:
		const gib = 1 << 30
		return (raw+gib-1)/gib*gib + roomToGrow
	case OwnSize:
		return raw
	}
	return d.CardSize
}
