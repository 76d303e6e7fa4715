package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
)

// Scratch is an empty directory in the cache for builds that are made only to be
// compared or measured. It can hold hundreds of thousands of files, so it is
// removed at the end, or else when the cache is next used.
type Scratch struct {
	Dir    string
	unlock func() error
}

// Names of scratch directories.
const (
	VerifyScratch = "verify"
	BenchScratch  = "bench"
)

func (c Cache) scratch(name string) Scratch { return Scratch{Dir: filepath.Join(string(c), name)} }

func (s Scratch) lockFile() string { return s.Dir + ".lock" }

// OpenScratch makes the directory, for the caller alone until Remove.
func (w Workspace) OpenScratch(ctx context.Context, name string) (Scratch, error) {
	s := w.Cache.scratch(name)
	var err error
	if s.unlock, err = lock.Acquire(ctx, s.lockFile(), lock.Exclusive, w.Log); err != nil {
		return s, err
	}
	if err := os.RemoveAll(s.Dir); err != nil { // of a run that was killed
		return s, errors.Join(err, s.unlock())
	}
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		return s, errors.Join(err, s.Remove())
	}
	return s, nil
}

// Remove removes the directory and all that is in it.
func (s Scratch) Remove() error {
	return errors.Join(os.RemoveAll(s.Dir), os.Remove(s.lockFile()), s.unlock())
}

// sweepScratch removes the directories that runs left which were killed.
func (w Workspace) sweepScratch() error {
	for _, name := range []string{VerifyScratch, BenchScratch} {
		s := w.Cache.scratch(name)
		if _, err := os.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var err error
		s.unlock, err = lock.Try(s.lockFile(), lock.Exclusive)
		if errors.Is(err, lock.ErrHeld) {
			continue // it is in use
		}
		if err != nil {
			return err
		}
		w.Log.Printf("removing what %s left when it was killed", name)
		if err := s.Remove(); err != nil {
			return err
		}
	}
	return nil
}
