package emulator

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/emulator/media"
	"github.com/cubeos-app/releases/magefiles/internal/progress"
)

const (
	defaultMemoryMiB = 2048
	defaultCPUs      = 2
	defaultTimeout   = 90 * time.Minute
	// roomToGrow is what the device has beyond the image, as an SD card would.
	roomToGrow = 4 << 30
)

// Options say what to boot and on what. Zero values mean what the comments say.
type Options struct {
	Artifact media.Artifact
	// WorkDir keeps the unpacked image between runs, and of the last run the
	// console log, the report and, if it failed, the device.
	WorkDir   string
	DiskSize  int64         // the image rounded up to whole GiB, and 4 GiB more
	MemoryMiB int           // 2048
	CPUs      int           // 2
	Timeout   time.Duration // of the whole proof: 90 minutes
	// Online lets the guest reach the internet. A device has to come up without
	// it, so the proof runs without it.
	Online   bool
	Reporter *progress.Reporter // nil shows nothing
	Phases   []Phase            // BootProof()
}

// withDefaults fills in what is zero and reports everything that is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.DiskSize == 0 {
		const gib = 1 << 30
		o.DiskSize = (o.Artifact.RawSize+gib-1)/gib*gib + roomToGrow
	}
	o.MemoryMiB = orDefault(o.MemoryMiB, defaultMemoryMiB)
	o.CPUs = orDefault(o.CPUs, defaultCPUs)
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Phases == nil {
		o.Phases = BootProof()
	}
	var errs []error
	if _, err := os.Stat(o.Artifact.XZPath); err != nil {
		errs = append(errs, fmt.Errorf("the image to boot: %w; `go tool mage build` and `compress` make it", err))
	}
	if b, err := hex.DecodeString(o.Artifact.RawSHA256); err != nil || len(b) != 32 {
		errs = append(errs, fmt.Errorf("the sha256 of the raw image is %q, expected 64 hex digits", o.Artifact.RawSHA256))
	}
	if o.Artifact.RawSize <= 0 || o.Artifact.RawSize%512 != 0 {
		errs = append(errs, fmt.Errorf("the size of the raw image is %d, expected a multiple of 512", o.Artifact.RawSize))
	}
	if o.DiskSize < o.Artifact.RawSize {
		errs = append(errs, fmt.Errorf("the disk would have %d bytes, the image has %d", o.DiskSize, o.Artifact.RawSize))
	}
	if o.WorkDir == "" {
		errs = append(errs, errors.New("no directory to work in was given"))
	}
	for _, tool := range []string{"qemu-system-aarch64", "qemu-img", "qemu-io", "mcopy", "mtype", "sfdisk", "xz", "e2fsck"} {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, fmt.Errorf("%w; `go tool mage prereqs` installs it", err))
		}
	}
	return o, errors.Join(errs...)
}

func orDefault(n, d int) int {
	if n == 0 {
		return d
	}
	return n
}
