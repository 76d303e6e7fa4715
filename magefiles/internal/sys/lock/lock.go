// Package lock keeps processes that use the same files out of each other's way.
// Its locks are the kernel's (flock): they end with the process that holds them,
// however that ends.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Mode says whom a lock excludes.
type Mode int

// Exclusive excludes everybody else, Shared only those who want it Exclusive.
const (
	Exclusive Mode = syscall.LOCK_EX
	Shared    Mode = syscall.LOCK_SH
)

// ErrHeld is the error of Try and TryExisting where somebody else's lock is in
// the way.
var ErrHeld = errors.New("it is locked")

// Acquire takes a lock on the file at path, which is made if it is not there. It
// waits for as long as another process holds it, and says so. The holder of an
// Exclusive lock may remove the file before unlocking: who waits for it then goes
// on with a new file.
func Acquire(ctx context.Context, path string, mode Mode, log *progress.Reporter) (unlock func() error, err error) {
	f, err := wait(ctx, path, mode, func() {
		log.Printf("waiting for %s, which holds %s", holder(path), path)
	})
	if err != nil {
		return nil, err
	}
	// The holder's number is only a courtesy to whoever waits; of many who share
	// it, none is to be named.
	if err := f.Truncate(0); err == nil && mode == Exclusive {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return f.Close, nil
}

// Open returns the file at path, made if it is not there, with an Exclusive lock
// on it that ends when it is closed. It waits as Acquire does, in silence.
func Open(ctx context.Context, path string) (*os.File, error) {
	return wait(ctx, path, Exclusive, func() {})
}

// Try is Acquire that fails with ErrHeld instead of waiting.
func Try(path string, mode Mode) (unlock func() error, err error) {
	f, err := try(path, mode)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

// TryExisting is Try for a file or directory that is not made. It fails with
// fs.ErrNotExist where there is none.
func TryExisting(path string, mode Mode) (unlock func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	current, err := flock(f, path, mode)
	if err == nil && !current {
		err = &fs.PathError{Op: "lock", Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

const poll = 100 * time.Millisecond

func wait(ctx context.Context, path string, mode Mode, tell func()) (*os.File, error) {
	for told := false; ; told = true {
		f, err := try(path, mode)
		if !errors.Is(err, ErrHeld) {
			return f, err
		}
		if !told {
			tell()
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(poll):
		}
	}
}

func holder(path string) string {
	pid, err := os.ReadFile(path)
	if number := strings.TrimSpace(string(pid)); err == nil && number != "" {
		return "process " + number
	}
	return "another process"
}

func try(path string, mode Mode) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		current, err := flock(f, path, mode)
		if err == nil && current {
			return f, nil
		}
		// Otherwise it is a file that its last holder has removed meanwhile.
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

// flock locks f, opened at path, and reports whether it is still what path
// names.
func flock(f *os.File, path string, mode Mode) (current bool, err error) {
	for {
		err := syscall.Flock(int(f.Fd()), int(mode)|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, ErrHeld
		}
		if !errors.Is(err, syscall.EINTR) {
			return false, fmt.Errorf("locking %s: %w", path, err)
		}
	}
	locked, err := f.Stat()
	if err != nil {
		return false, err
	}
	now, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(locked, now), err
}
