package containerimage

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/sys/ctxio"
)

// archiveFormat counts the changes of how archives are written: the same
// digest gives the same bytes for as long as it stays the same.
const archiveFormat = 1

// writeArchive saves img under path, in one move, and returns the sha256 and
// the size of the archive.
func writeArchive(ctx context.Context, path string, e Entry, img *image) (sum string, size int64, err error) {
	full, err := partial.CompressedToImage(img)
	if err != nil {
		return "", 0, fmt.Errorf("reading image: %w", err)
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o644))
	if err != nil {
		return "", 0, fmt.Errorf("creating archive: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Cleanup()); err != nil {
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	hash := sha256.New()
	count := &counter{w: io.MultiWriter(f, hash)}
	buffered := bufio.NewWriterSize(ctxio.Writer(ctx, count), 1<<20)
	if err := tarball.Write(e.tag, full, buffered); err != nil {
		return "", 0, err
	}
	if err := buffered.Flush(); err != nil {
		return "", 0, err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(hash.Sum(nil)), count.n, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// records remembers in the cache which bytes the archive of an image has, so
// that one that is there needs only to be read again, not to be made again.
type records struct {
	dir string
}

func (r records) path(e Entry, digest v1.Hash) string {
	key := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", archiveFormat, e.Reference, digest))
	return filepath.Join(r.dir, hex.EncodeToString(key[:]))
}

// current returns the sha256 and size of the archive at path if it is the one
// recorded for the image, read through, and "" if it is not.
func (r records) current(path string, e Entry, digest v1.Hash) (sum string, size int64, err error) {
	recorded, err := os.ReadFile(r.path(e, digest))
	if errors.Is(err, os.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("reading what is known of %s: %w", path, err)
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("opening archive: %w", err)
	}
	defer f.Close()
	sum, size, err = sha256Of(f)
	if err != nil {
		return "", 0, fmt.Errorf("reading archive %s: %w", path, err)
	}
	if sum != strings.TrimSpace(string(recorded)) {
		return "", 0, nil
	}
	return sum, size, nil
}

func (r records) put(e Entry, digest v1.Hash, sum string) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("recording the archive of %s: %w", e.Name, err)
	}
	if err := renameio.WriteFile(r.path(e, digest), []byte(sum+"\n"), 0o644); err != nil {
		return fmt.Errorf("recording the archive of %s: %w", e.Name, err)
	}
	return nil
}
