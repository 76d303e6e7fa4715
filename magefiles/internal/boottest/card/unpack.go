// Package card makes the device that a machine boots from: it unpacks an
// artifact, reads what a Raspberry Pi's firmware would read from it, and puts a
// throw-away layer over it. The artifact and its unpacked form are only read.
package card

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Artifact is a compressed image and what the build manifest says of it.
type Artifact struct {
	XZPath    string
	RawSHA256 string
	RawSize   int64
}

// stamp says that a file has been hashed, and how to tell that it is still that
// file.
type stamp struct {
	SHA256   string    `json:"sha256"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// Unpack returns the artifact's raw image in dir, unpacking it if it is not there
// already. What comes out of the .xz must be what the manifest says. Raw images
// of other artifacts are removed from dir.
func Unpack(ctx context.Context, a Artifact, dir string, rep *progress.Reporter) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	raw := filepath.Join(dir, a.RawSHA256+".img")
	stampPath := raw + ".json"
	if err := removeOthers(dir, filepath.Base(raw), filepath.Base(stampPath)); err != nil {
		return "", err
	}
	if unchanged(raw, stampPath, a) {
		rep.Printf("%s is unpacked already", filepath.Base(a.XZPath))
		return raw, nil
	}
	if err := enoughSpace(dir, a.RawSize); err != nil {
		return "", err
	}
	if err := unpack(ctx, a, raw, rep); err != nil {
		return "", fmt.Errorf("unpacking %s: %w", a.XZPath, err)
	}
	info, err := os.Stat(raw)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(stamp{SHA256: a.RawSHA256, Size: info.Size(), Modified: info.ModTime()})
	if err != nil {
		return "", err
	}
	return raw, renameio.WriteFile(stampPath, append(b, '\n'), 0o644)
}

func unchanged(raw, stampPath string, a Artifact) bool {
	b, err := os.ReadFile(stampPath)
	if err != nil {
		return false
	}
	var s stamp
	if json.Unmarshal(b, &s) != nil {
		return false
	}
	info, err := os.Stat(raw)
	return err == nil && s.SHA256 == a.RawSHA256 && s.Size == a.RawSize &&
		info.Size() == s.Size && info.ModTime().Equal(s.Modified)
}

func unpack(ctx context.Context, a Artifact, raw string, rep *progress.Reporter) (err error) {
	in, err := os.Open(a.XZPath)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := renameio.NewPendingFile(raw, renameio.WithTempDir(filepath.Dir(raw)), renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Cleanup()) }()
	task := rep.Task("unpacking "+filepath.Base(a.XZPath), a.RawSize)
	defer task.End()
	w := &sparseWriter{f: out.File, max: a.RawSize}
	sum := sha256.New()
	to := &firstError{w: io.MultiWriter(sum, w, task)}
	err = process.Cmd{Argv: []string{"xz", "--decompress", "--stdout", "--threads=0"}, Stdin: in, Stdout: to}.Run(ctx)
	if to.err != nil { // xz only says that its pipe broke
		return fmt.Errorf("it is not what the build manifest says: %w", to.err)
	}
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != a.RawSHA256 || w.off != a.RawSize {
		return fmt.Errorf("it is not what the build manifest says: sha256 %s, %d bytes; expected %s, %d bytes", got, w.off, a.RawSHA256, a.RawSize)
	}
	if err := w.finish(); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

type firstError struct {
	w   io.Writer
	err error
}

func (f *firstError) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n, err
}

// spare is what a run writes beside the raw image: the device's own writes, logs.
const spare = 3 << 30

func enoughSpace(dir string, raw int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("asking for the free space at %s: %w", dir, err)
	}
	if free, need := int64(fs.Bavail)*fs.Bsize, raw+spare; free < need {
		return fmt.Errorf("%s has %d MiB free and a boot needs %d MiB: make room or use another directory", dir, free>>20, need>>20)
	}
	return nil
}

func removeOthers(dir string, keep ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != keep[0] && e.Name() != keep[1] {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
