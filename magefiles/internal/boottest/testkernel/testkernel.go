// Package testkernel provides a kernel for images whose own one has no drivers for
// an emulated machine: Debian's, of the image's suite, with an initramfs that only
// mounts the card and lays the kernel's modules over the image's. Nothing of the
// image is changed for it.
package testkernel

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Flavour is a kernel of Debian's for arm64.
type Flavour string

// Pages4K has pages of 4 KiB, as Raspberry Pi OS's kernel for a Pi 4 does; Pages16K
// has those of its kernel for a Pi 5.
const (
	Pages4K  Flavour = "arm64"
	Pages16K Flavour = "arm64-16k"
)

// Kernel is a kernel with all that a machine needs to boot a card with it: paths of
// files that are there until the store is closed.
type Kernel struct {
	Image   string `json:"-"` // what QEMU loads
	Initrd  string `json:"-"`
	Modules string `json:"-"` // an ext4 file system with RELEASE/, the machine's second disk

	Release string `json:"release"` // as uname -r says it
	Package string `json:"package"` // file name of the Debian package
	SHA256  string `json:"sha256"`  // of the package, which Debian's signed lists name
}

// CopyTo copies a kernel to a directory. What is there of another one is replaced.
func (k Kernel) CopyTo(dir string) (Kernel, error) {
	for _, file := range []*string{&k.Image, &k.Initrd, &k.Modules} {
		to := filepath.Join(dir, filepath.Base(*file))
		if err := copyFile(*file, to); err != nil {
			return k, fmt.Errorf("copying the test kernel: %w", err)
		}
		*file = to
	}
	return k, nil
}

// Provider makes kernels and keeps them in a store.
type Provider struct {
	Suite    string // of Debian, the image's
	Mirror   string // URL
	Store    *layer.Store
	Archives *debian.Archives
	Log      *progress.Reporter
}

// Names of files of the layer.
const (
	imageFile   = "kernel"
	initrdFile  = "initrd"
	modulesFile = "modules.ext4"
	notesFile   = "kernel.json"
)

//go:embed init.sh
var initScript []byte

// formatVersion changes with what this program makes of the packages.
const formatVersion = "1"

// Kernel returns a kernel, which it makes when it is not there yet.
func (p *Provider) Kernel(ctx context.Context, flavour Flavour) (Kernel, error) {
	from := debian.Release{Suite: p.Suite, Arch: "arm64", Mirror: p.Mirror}
	include := []string{"linux-image-" + string(flavour), "busybox-static"}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []any{formatVersion, initScript, wanted(), from.ExtractArgv(include, "")}))
	tree, err := p.Store.Layer(ctx, "testkernel-"+hex.EncodeToString(sum[:]), func(ctx context.Context, d layer.Draft) error {
		ctx, span := timing.Start(ctx, "fetching the test kernel")
		defer span.End()
		p.Log.Printf("fetching Debian %s's kernel %s to boot the image with", p.Suite, flavour)
		if err := d.Title("test kernel " + string(flavour) + " of Debian " + p.Suite); err != nil {
			return err
		}
		system := layer.Draft{Tree: filepath.Join(d.Scratch, "debian"), Scratch: d.Scratch}
		if err := from.Extract(ctx, include, system, p.Archives, io.Discard); err != nil {
			return err
		}
		return assemble(ctx, system.Tree, d)
	})
	if err != nil {
		return Kernel{}, fmt.Errorf("preparing the test kernel %s of %s from %s: %w", flavour, p.Suite, p.Mirror, err)
	}
	k := Kernel{
		Image:   filepath.Join(tree, imageFile),
		Initrd:  filepath.Join(tree, initrdFile),
		Modules: filepath.Join(tree, modulesFile),
	}
	raw, err := os.ReadFile(filepath.Join(layer.Notes(tree), notesFile))
	if err != nil {
		return Kernel{}, err
	}
	return k, json.Unmarshal(raw, &k)
}
