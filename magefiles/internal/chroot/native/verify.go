package native

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Verify returns an error if a step left a program of this machine's
// architecture in its changes: a copy of one that was injected, also inside an
// initramfs.
func (o *Overlay) Verify(upper string) error {
	return filepath.WalkDir(upper, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		rel := strings.TrimPrefix(path, upper)
		r := bufio.NewReaderSize(f, 1<<16)
		head, _ := r.Peek(elfHead)
		if isNative(head) {
			return fmt.Errorf("%s is a program of the build machine", rel)
		}
		if strings.HasPrefix(rel, "/boot/") && initramfsName.MatchString(filepath.Base(path)) {
			name, err := nativeInside(r)
			if err != nil {
				return fmt.Errorf("looking into %s: %w", rel, err)
			}
			if name != "" {
				return fmt.Errorf("%s holds %s of the build machine", rel, name)
			}
		}
		return nil
	})
}

var initramfsName = regexp.MustCompile(`^init(rd|ramfs)`)

// nativeInside returns the name of a native program in an initramfs: cpio
// archives, one behind the other, of which the last may be compressed
// (Documentation/driver-api/early-userspace/buffer-format.rst of the kernel).
func nativeInside(r *bufio.Reader) (string, error) {
	for {
		magic, err := r.Peek(6)
		if err == io.EOF {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if magic[0] == 0 { // padding
			if _, err := r.Discard(1); err != nil {
				return "", err
			}
			continue
		}
		if !bytes.HasPrefix(magic, []byte("0707")) {
			return nativeInCompressed(r, magic)
		}
		if name, err := nativeInArchive(r); name != "" || err != nil {
			return name, err
		}
	}
}

func nativeInCompressed(r io.Reader, magic []byte) (string, error) {
	switch {
	case bytes.HasPrefix(magic, []byte("\x28\xb5\x2f\xfd")):
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return "", err
		}
		defer d.Close()
		return nativeInside(bufio.NewReader(d))
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		d, err := gzip.NewReader(r)
		if err != nil {
			return "", err
		}
		return nativeInside(bufio.NewReader(d))
	}
	return "", fmt.Errorf("%q is the start of no archive this knows", magic)
}

// nativeInArchive reads one cpio archive of the "newc" format.
func nativeInArchive(r *bufio.Reader) (string, error) {
	header := make([]byte, 110)
	for {
		if _, err := io.ReadFull(r, header); err != nil {
			return "", err
		}
		size, err1 := strconv.ParseInt(string(header[54:62]), 16, 64)
		nameSize, err2 := strconv.ParseInt(string(header[94:102]), 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return "", err
		}
		if nameSize < 1 || nameSize > 4096 {
			return "", fmt.Errorf("a name of %d bytes in a cpio archive", nameSize)
		}
		name := make([]byte, nameSize+padding(110+nameSize))
		if _, err := io.ReadFull(r, name); err != nil {
			return "", err
		}
		entry := string(name[:nameSize-1])
		if entry == "TRAILER!!!" {
			return "", nil
		}
		if head, _ := r.Peek(elfHead); size >= elfHead && isNative(head) {
			return entry, nil
		}
		if _, err := io.CopyN(io.Discard, r, size+padding(size)); err != nil {
			return "", err
		}
	}
}

func padding(n int64) int64 { return -n & 3 }

// crashes are how the end of a program that did not mean to end shows.
var crashes = regexp.MustCompile(`(?m)^(?:.*?([\w.+-]+): (?:error while loading shared libraries|symbol lookup error)|.*\b(Segmentation fault|Illegal instruction|Bus error|Aborted)\b.*)`)

// Crashed returns the native program that crashed, to judge by what a failed step
// printed, or "".
func (o *Overlay) Crashed(output string) string {
	m := crashes.FindStringSubmatch(output)
	switch {
	case m == nil:
		return ""
	case m[1] != "":
		return m[1]
	}
	return fmt.Sprintf("program behind the line %q", m[0])
}
