// Package baseimage provides the base image a build starts from: downloaded and
// verified, or bootstrapped from a Debian mirror in Raspberry Pi OS's layout.
package baseimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"

	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Image is a base image on this machine.
type Image struct {
	Path   string
	SHA256 string // of the file as it is; names its contents in cache keys
	Packed bool   // compressed with xz
}

// stallTimeout ends a transfer that brings nothing any more, so that it is
// tried again instead of waited for.
const stallTimeout = 60 * time.Second

// Download returns the image at url from the cache directory, fetching it if
// it is not there. An interrupted download goes on where it stopped; a file
// whose digest is not sha256 is not kept. packed says that the file has to be
// an xz archive. A url that is an absolute path or starts with file:// names a
// file of this machine, which is verified and used where it is.
func Download(ctx context.Context, url, sum string, packed bool, cacheDir string, log *progress.Reporter) (Image, error) {
	if local := strings.TrimPrefix(url, "file://"); filepath.IsAbs(local) {
		if err := verify(local, sum, packed); err != nil {
			return Image{}, fmt.Errorf("the base image %s: %w", local, err)
		}
		return Image{Path: local, SHA256: sum, Packed: packed}, nil
	}
	img := Image{Path: filepath.Join(cacheDir, sum+"-"+path.Base(url)), SHA256: sum, Packed: packed}
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return img, fmt.Errorf("preparing the download cache: %w", err)
	}
	unlock, err := lock.Acquire(ctx, img.Path+".lock", lock.Exclusive, log)
	if err != nil {
		return img, err
	}
	defer unlock()
	if _, err := os.Stat(img.Path); err == nil {
		return img, nil
	}
	ctx, span := timing.Start(ctx, "downloading the base image")
	defer span.End()
	partial := img.Path + ".partial"
	const tries = 4
	for try := 1; ; try++ {
		err = fetch(ctx, url, partial, log)
		if err == nil || ctx.Err() != nil || !temporary(err) || try == tries {
			break
		}
		log.Printf("downloading %s: %v; trying again, %d of %d", url, err, try+1, tries)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(try) * 2 * time.Second):
		}
	}
	if err != nil {
		return img, fmt.Errorf("downloading the base image %s: %w", url, err)
	}
	if err := verify(partial, sum, packed); err != nil {
		return img, errors.Join(fmt.Errorf("the base image %s: %w; the file was dropped", url, err), os.Remove(partial))
	}
	return img, os.Rename(partial, img.Path)
}

// statusError is an answer other than the file.
type statusError struct{ status string }

func (e *statusError) Error() string { return "the server answered " + e.status }

func temporary(err error) bool {
	if status, ok := errors.AsType[*statusError](err); ok {
		return strings.HasPrefix(status.status, "5") || strings.HasPrefix(status.status, "429")
	}
	return !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.ENOSPC)
}

// fetch appends to partial what it lacks of the file at url.
func fetch(ctx context.Context, url, partial string, log *progress.Reporter) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	stalled := time.AfterFunc(stallTimeout, func() {
		cancel(fmt.Errorf("nothing has arrived for %s", stallTimeout))
	})
	defer stalled.Stop()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		log.Printf("going on with %s after %s", path.Base(url), units.HumanSize(float64(have)))
	case http.StatusRequestedRangeNotSatisfiable:
		return nil // it is all there; its digest tells whether it is right
	case http.StatusOK:
		if err := f.Truncate(0); err != nil {
			return err
		}
		if have, err = f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	default:
		return &statusError{resp.Status}
	}
	total := int64(0)
	if resp.ContentLength > 0 {
		total = have + resp.ContentLength
	}
	task := log.Task("downloading "+path.Base(url), total)
	defer task.End()
	task.Add(have)
	_, err = io.Copy(f, io.TeeReader(resp.Body, tick(func(n int) {
		stalled.Reset(stallTimeout)
		task.Add(int64(n))
	})))
	return cause(ctx, err)
}

// tick is a writer that only tells how much passed.
type tick func(n int)

func (t tick) Write(p []byte) (int, error) { t(len(p)); return len(p), nil }

func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

var xzMagic = "\xfd7zXZ\x00"

func verify(file, sum string, packed bool) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(xzMagic))
	n, err := io.ReadFull(f, head)
	if packed && (err != nil || string(head) != xzMagic) {
		return fmt.Errorf("this is no xz archive, it starts with %q (a web page instead of the file?)", head[:n])
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("its sha256 is %s, but %s is pinned", got, sum)
	}
	return nil
}
