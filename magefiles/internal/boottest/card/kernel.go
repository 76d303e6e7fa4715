package card

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
)

// kernelFormat is what a file that config.txt calls the kernel turned out to be.
type kernelFormat int

const (
	unknownKernel kernelFormat = iota
	plainKernel                // an arm64 Image, which QEMU loads
	gzipKernel                 // the same compressed, which QEMU loads on some boards only
	zbootKernel                // an EFI program that unpacks itself: only newer QEMUs load it
)

const headerSize = 64

// kernelHeader tells the format by the first bytes (Documentation/arch/arm64/booting.rst
// and drivers/firmware/efi/libstub/zboot-header.S of Linux).
func kernelHeader(h []byte) kernelFormat {
	switch {
	case len(h) < headerSize:
		return unknownKernel
	case bytes.Equal(h[56:60], []byte("ARM\x64")):
		return plainKernel
	case h[0] == 0x1f && h[1] == 0x8b:
		return gzipKernel
	case bytes.Equal(h[:2], []byte("MZ")) && bytes.Equal(h[4:8], []byte("zimg")):
		return zbootKernel
	}
	return unknownKernel
}

// MakeLoadable replaces a kernel that not every QEMU can load by the Image in it.
func MakeLoadable(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := make([]byte, headerSize)
	if _, err := io.ReadFull(f, h); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	switch kernelHeader(h) {
	case plainKernel:
		return nil
	case gzipKernel:
		return replace(path, io.NewSectionReader(f, 0, math.MaxInt64))
	case zbootKernel:
		return unpackZboot(f, h, path)
	}
	return errors.New("it is no arm64 Linux kernel that QEMU can load (an Image, plain, gzip-compressed or as an EFI zboot program)")
}

var banner = regexp.MustCompile(`Linux version (\S+) \(`)

// kernelRelease is what uname -r says of a kernel that MakeLoadable has seen.
func kernelRelease(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	found := banner.FindSubmatch(raw)
	if found == nil {
		return "", fmt.Errorf("%s does not say which version of Linux it is", path)
	}
	return string(found[1]), nil
}

// driver is what a kernel needs for a device of QEMU's machine "virt": as a file of
// modules.builtin, or as an alias of modules.alias.
type driver struct{ name, builtIn, alias string }

func drivers() []driver {
	return []driver{
		{"pci-host-generic", "/pci-host-generic.ko", "alias of:N*T*Cpci-host-ecam-generic"},
		{"virtio_pci", "/virtio_pci.ko", "alias pci:v00001AF4d*"},
		{"virtio_blk", "/virtio_blk.ko", "alias virtio:d00000002v*"},
		{"virtio_net", "/virtio_net.ko", "alias virtio:d00000001v*"},
	}
}

// Release says which kernel was taken out of the image into dir, and which drivers
// of QEMU's machine "virt" it does not have.
func (img *Image) Release(ctx context.Context, b *Boot, dir string) (release string, lacks []string, err error) {
	if release, err = kernelRelease(filepath.Join(dir, b.Kernel)); err != nil {
		return "", nil, err
	}
	modules := "/usr/lib/modules/" + release
	builtIn, err := diskimage.ReadExt4File(ctx, img.Path, img.Root, modules+"/modules.builtin")
	if err != nil {
		return release, nil, err
	}
	aliases, err := diskimage.ReadExt4File(ctx, img.Path, img.Root, modules+"/modules.alias")
	if err != nil {
		return release, nil, err
	}
	return release, missing(string(builtIn), string(aliases)), nil
}

// missing lists the drivers that neither list has.
func missing(builtIn, aliases string) (names []string) {
	for _, d := range drivers() {
		if !strings.Contains(builtIn, d.builtIn) && !strings.Contains(aliases, d.alias) {
			names = append(names, d.name)
		}
	}
	return names
}

func unpackZboot(f *os.File, h []byte, path string) (err error) {
	offset, size := int64(binary.LittleEndian.Uint32(h[8:])), int64(binary.LittleEndian.Uint32(h[12:]))
	method := string(bytes.TrimRight(h[24:56], "\x00"))
	if method != "gzip" {
		return fmt.Errorf("it is an EFI zboot program compressed with %q; only gzip is understood here", method)
	}
	return replace(path, io.NewSectionReader(f, offset, size))
}

// replace unpacks to path.
func replace(path string, packed io.Reader) (err error) {
	in, err := gzip.NewReader(packed)
	if err != nil {
		return err
	}
	out, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Cleanup()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}
