package lock

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

func TestLockWaitsForTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Acquire(t.Context(), path, Exclusive, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	if _, err := Acquire(ctx, path, Exclusive, progress.New(&log)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want to wait for the holder", err)
	}
	if !strings.Contains(log.String(), "waiting for process") {
		t.Errorf("nobody was told about the wait: %q", log.String())
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire(t.Context(), path, Exclusive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
}

func TestWhoWaitedForARemovedLockTakesANewOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var alone atomic.Int32
	var waiting sync.WaitGroup
	for range 8 {
		waiting.Go(func() {
			for range 50 {
				unlock, err := Acquire(t.Context(), path, Exclusive, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if alone.Add(1) != 1 {
					t.Error("two have the lock")
				}
				alone.Add(-1)
				if err := errors.Join(os.Remove(path), unlock()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	waiting.Wait()
}

func TestSharedLocksExcludeOnlyWhoWantsItAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Acquire(t.Context(), path, Shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Acquire(t.Context(), path, Shared, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, unlock := range []func() error{first, second} {
		if _, err := Try(path, Exclusive); !errors.Is(err, ErrHeld) {
			t.Errorf("got %v, want ErrHeld", err)
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := Try(path, Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

func TestTryExistingMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if _, err := TryExisting(dir, Shared); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for what is not there", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	release, err := TryExisting(dir, Shared)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryExisting(dir, Exclusive); !errors.Is(err, ErrHeld) {
		t.Errorf("got %v, want ErrHeld", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if release, err = TryExisting(dir, Exclusive); err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}
