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

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cubeos-app/releases/magefiles/internal/sys/ctxio"
	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
)

// blobs is a directory of blobs named by their sha256 that any number of
// builds share. A blob has its name only once its content was checked. It is
// not go-containerregistry's file system cache, which writes under the final
// name, so that an interrupted or a second writer leaves a broken blob there.
type blobs struct {
	dir string
}

func (b blobs) path(h v1.Hash) string { return filepath.Join(b.dir, h.Algorithm, h.Hex) }

// partial is the file that blob h is written to by whoever holds a lock on it.
func (b blobs) partial(h v1.Hash) string { return b.path(h) + ".partial" }

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
	partial, err := lock.Open(ctx, b.partial(h))
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
	if err := write(ctxio.Writer(ctx, io.MultiWriter(partial, sum))); err != nil {
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

// sweep removes what killed builds left half written.
func (b blobs) sweep() error {
	left, err := filepath.Glob(filepath.Join(b.dir, "*", "*.partial"))
	if err != nil {
		return fmt.Errorf("sweeping the blob cache: %w", err)
	}
	var problems []error
	for _, path := range left {
		unlock, err := lock.TryExisting(path, lock.Exclusive)
		if errors.Is(err, lock.ErrHeld) || errors.Is(err, os.ErrNotExist) {
			continue // being written, or finished or swept meanwhile
		}
		if err == nil {
			err = errors.Join(os.Remove(path), unlock())
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("sweeping the blob cache: %w", err))
		}
	}
	return errors.Join(problems...)
}
