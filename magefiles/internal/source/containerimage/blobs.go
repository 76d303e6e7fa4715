package containerimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blobs is a directory of blobs named by their sha256 that any number of
// builds share. A blob has its name only once its content was checked. It is
// not go-containerregistry's file system cache, which writes under the final
// name, so that an interrupted or a second writer leaves a broken blob there.
type blobs struct {
	dir string
}

func (b blobs) path(h v1.Hash) string { return filepath.Join(b.dir, h.Algorithm, h.Hex) }

// have reports whether the blob is there and its content is what its name
// says. A damaged one is removed.
func (b blobs) have(h v1.Hash) (bool, error) {
	f, err := os.Open(b.path(h))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("opening cached blob: %w", err)
	}
	defer f.Close()
	sum, _, err := sha256Of(f)
	if err != nil {
		return false, fmt.Errorf("reading cached blob %s: %w", f.Name(), err)
	}
	if sum == h.Hex {
		return true, nil
	}
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("removing damaged blob: %w", err)
	}
	return false, nil
}

// add puts what write writes under the name h if that is what it is. Of
// several that add the same blob at once one writes, and the others wait for
// it; write is then not called for them.
func (b blobs) add(ctx context.Context, h v1.Hash, write func(io.Writer) error) (err error) {
	if h.Algorithm != "sha256" {
		return fmt.Errorf("blob %s: only sha256 is supported", h)
	}
	partial, err := b.lock(ctx, h)
	if err != nil {
		return fmt.Errorf("locking blob %s: %w", h, err)
	}
	defer func() { err = errors.Join(err, partial.Close()) }() // unlocks
	if ok, err := b.have(h); err != nil || ok {
		return errors.Join(err, os.Remove(partial.Name()))
	}
	if err := partial.Truncate(0); err != nil {
		return fmt.Errorf("emptying %s: %w", partial.Name(), err)
	}
	sum := sha256.New()
	if err := write(ctxWriter{ctx, io.MultiWriter(partial, sum)}); err != nil {
		return errors.Join(err, os.Remove(partial.Name()))
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != h.Hex {
		return errors.Join(&mismatchError{want: h, got: got}, os.Remove(partial.Name()))
	}
	if err := partial.Sync(); err != nil {
		return fmt.Errorf("writing blob %s: %w", h, err)
	}
	if err := os.Rename(partial.Name(), b.path(h)); err != nil {
		return fmt.Errorf("keeping blob %s: %w", h, err)
	}
	return nil
}

type mismatchError struct {
	want v1.Hash
	got  string
}

func (e *mismatchError) Error() string {
	return fmt.Sprintf("blob %s came with the content of sha256:%s", e.want, e.got)
}

const lockPoll = 100 * time.Millisecond

// lock opens the file that blob h is written to and holds an exclusive lock on
// it, which the kernel lifts when this process ends in whatever way.
func (b blobs) lock(ctx context.Context, h v1.Hash) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(b.path(h)), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(b.path(h)+".partial", os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && isNamed(f) {
			return f, nil
		}
		// Held by another build, or it finished and the name is gone since.
		f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lockPoll):
		}
	}
}

func isNamed(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(f.Name())
	return err == nil && os.SameFile(opened, named)
}

// sweep removes what killed builds left half written.
func (b blobs) sweep() error {
	left, err := filepath.Glob(filepath.Join(b.dir, "*", "*.partial"))
	if err != nil {
		return fmt.Errorf("sweeping the blob cache: %w", err)
	}
	var problems []error
	for _, path := range left {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue // finished or swept meanwhile
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && isNamed(f) {
			if err := os.Remove(path); err != nil {
				problems = append(problems, fmt.Errorf("sweeping the blob cache: %w", err))
			}
		}
		f.Close()
	}
	return errors.Join(problems...)
}

// ctxWriter fails as soon as its context has ended, which ends a copy into it.
type ctxWriter struct {
	ctx context.Context
	w   io.Writer
}

func (c ctxWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}
