package card

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// kernelFormat is what a file that config.txt calls the kernel turned out to be.
type kernelFormat int

const (
	unknownKernel kernelFormat = iota
	plainKernel                // an arm64 Image, which QEMU loads
	gzipKernel                 // the same compressed, which QEMU loads too
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

// makeLoadable replaces a kernel that not every QEMU can load by the Image in it.
func makeLoadable(path string) (err error) {
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
	case plainKernel, gzipKernel:
		return nil
	case zbootKernel:
		return unpackZboot(f, h, path)
	}
	return errors.New("it is no arm64 Linux kernel that QEMU can load (an Image, plain, gzip-compressed or as an EFI zboot program)")
}

func unpackZboot(f *os.File, h []byte, path string) (err error) {
	offset, size := int64(binary.LittleEndian.Uint32(h[8:])), int64(binary.LittleEndian.Uint32(h[12:]))
	method := string(bytes.TrimRight(h[24:56], "\x00"))
	if method != "gzip" {
		return fmt.Errorf("it is an EFI zboot program compressed with %q; only gzip is understood here", method)
	}
	in, err := gzip.NewReader(io.NewSectionReader(f, offset, size))
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
