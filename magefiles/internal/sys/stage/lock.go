package stage

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

// ErrLocked is TryLock's error where somebody else has the lock.
var ErrLocked = errors.New("it is locked")

// Lock takes an exclusive lock on the file at path, waiting for as long as
// another process holds it and saying so. The kernel drops the lock when this
// process ends, however it ends. The holder may remove the file before it
// unlocks: who waits for it then goes on with a new file.
func Lock(ctx context.Context, path string, log *progress.Reporter) (unlock func() error, err error) {
	f, err := wait(ctx, path, syscall.LOCK_EX, log)
	if err != nil {
		return nil, err
	}
	// The holder's number is only a courtesy to whoever waits.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return f.Close, nil
}

// LockShared is Lock for one of many who only exclude those who take the lock
// alone.
func LockShared(ctx context.Context, path string, log *progress.Reporter) (unlock func() error, err error) {
	f, err := wait(ctx, path, syscall.LOCK_SH, log)
	if err != nil {
		return nil, err
	}
	_ = f.Truncate(0) // many hold it: none is to be named
	return f.Close, nil
}

// TryLock is Lock that fails with ErrLocked instead of waiting.
func TryLock(path string) (unlock func() error, err error) {
	f, err := try(path, syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

func wait(ctx context.Context, path string, how int, log *progress.Reporter) (*os.File, error) {
	for told := false; ; {
		f, err := try(path, how)
		if !errors.Is(err, ErrLocked) {
			return f, err
		}
		if !told {
			holder, _ := os.ReadFile(path)
			who := "another process"
			if pid := strings.TrimSpace(string(holder)); pid != "" {
				who = "process " + pid
			}
			log.Printf("waiting for %s, which holds %s", who, path)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func try(path string, how int) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		current, err := flock(f, path, how)
		if err != nil {
			f.Close()
			return nil, err
		}
		if current {
			return f, nil
		}
		f.Close() // a lock on a file that its last holder has removed meanwhile
	}
}

// flock locks f, opened at path, and reports whether it is still what path
// names.
func flock(f *os.File, path string, how int) (current bool, err error) {
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if err == syscall.EWOULDBLOCK {
			return false, ErrLocked
		}
		if err != syscall.EINTR {
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

// HoldDir takes a lock on a directory, which is not made: shared among those
// who use it, or alone to remove it. Without waiting it fails with ErrLocked,
// and with fs.ErrNotExist where the directory is gone.
func HoldDir(path string, alone bool) (release func() error, err error) {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	current, err := flock(f, path, how)
	if err == nil && !current {
		err = &fs.PathError{Op: "lock", Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
