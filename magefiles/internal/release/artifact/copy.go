package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/ctxio"
)

// copyImage writes raw to w: the mapped ranges as they are, and zeros, unread,
// for what lies between. It returns the mapped ranges with their sums.
func copyImage(ctx context.Context, w io.Writer, raw io.ReaderAt, size int64, mapped []diskimage.Range) ([]mappedRange, error) {
	c := imageCopier{w: ctxio.Writer(ctx, w), raw: raw, buf: make([]byte, 1<<20), zeros: make([]byte, 1<<20)}
	var sums []mappedRange
	var at int64
	for _, r := range mapped {
		if err := c.skip(r.Start - at); err != nil {
			return nil, err
		}
		sum, err := c.copy(r)
		if err != nil {
			return nil, err
		}
		sums = append(sums, mappedRange{r, sum})
		at = r.End
	}
	return sums, c.skip(size - at)
}

type imageCopier struct {
	w          io.Writer
	raw        io.ReaderAt
	buf, zeros []byte
}

// skip writes n zeros.
func (c *imageCopier) skip(n int64) error {
	for n > 0 {
		written, err := c.w.Write(c.zeros[:min(n, int64(len(c.zeros)))])
		if err != nil {
			return err
		}
		n -= int64(written)
	}
	return nil
}

// copy writes a part of the raw image and returns its SHA-256 in hexadecimal.
func (c *imageCopier) copy(r diskimage.Range) (string, error) {
	sum := sha256.New()
	for at := r.Start; at < r.End; {
		part := c.buf[:min(r.End-at, int64(len(c.buf)))]
		if n, err := c.raw.ReadAt(part, at); n < len(part) {
			return "", fmt.Errorf("reading the raw image at byte %d: %w", at, err)
		}
		sum.Write(part)
		if _, err := c.w.Write(part); err != nil {
			return "", err
		}
		at += int64(len(part))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// hashedWriter hashes and counts what passes through it, and remembers why it
// failed.
type hashedWriter struct {
	w   io.Writer
	sum hash.Hash
	n   int64
	err error
}

func (h *hashedWriter) Write(p []byte) (int, error) {
	n, err := h.w.Write(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	h.err = err
	return n, err
}

// partials are files under way, by the name they will have.
type partials map[string]string

func (p partials) create(final string) (*os.File, error) {
	f, err := os.Create(final + ".partial")
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", filepath.Base(final), err)
	}
	p[final] = f.Name()
	return f, nil
}

func (p partials) write(final string, content []byte) error {
	f, err := p.create(final)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return diskFull(err, final, int64(len(content)))
	}
	return nil
}

// finish gives the files their names, the first of order last. What an earlier
// run finished goes before, so that no file ever stands beside another run's.
func (p partials) finish(order ...string) error {
	for _, final := range order {
		if err := os.Remove(final); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing an earlier run's %s: %w", final, err)
		}
	}
	for _, final := range slices.Backward(order) {
		if err := os.Rename(p[final], final); err != nil {
			return fmt.Errorf("finishing %s: %w", final, err)
		}
		delete(p, final)
	}
	return nil
}

func (p partials) remove() {
	for _, path := range p {
		_ = os.Remove(path) // the next run overwrites it
	}
}

// diskFull says how much room a file may need where there was too little.
func diskFull(err error, path string, need int64) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("writing %s: %w: it needs up to %s there; free some, or build in a directory on a larger disk",
			path, err, units.HumanSize(float64(need)))
	}
	return err
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
