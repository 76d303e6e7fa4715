package layer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"

	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
)

const layerPrefix = "layer-"

// finished is a layer that a key names.
type finished struct {
	record
	dir  string
	used time.Time
}

// finished lists the layers that keys name.
func (s *Store) finished() ([]finished, error) {
	entries, err := os.ReadDir(s.keysDir())
	if err != nil {
		return nil, err
	}
	var all []finished
	for _, e := range entries {
		if e.Type() != fs.ModeSymlink {
			continue
		}
		l := finished{dir: s.named(e.Name())}
		// One whose record is lost is as good as unused, and large enough.
		if l.record, err = readRecord(l.dir); err == nil {
			if info, err := os.Stat(filepath.Join(l.dir, recordFile)); err == nil {
				l.used = info.ModTime()
			}
		}
		l.Key = e.Name()
		all = append(all, l)
	}
	return all, nil
}

// Sweep removes what nobody needs any more: what killed builds left and layers
// that were replaced. What a running build works on is left alone.
func (s *Store) Sweep() error {
	entries, err := os.ReadDir(s.keysDir())
	if err != nil {
		return err
	}
	var problems []error
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") {
			problems = append(problems, removeLock(filepath.Join(s.keysDir(), e.Name())))
		}
	}
	dirs, err := filepath.Glob(filepath.Join(s.Dir, layerPrefix+"*"))
	if err != nil {
		return err
	}
	all, err := s.finished()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if slices.ContainsFunc(all, func(l finished) bool { return l.dir == dir }) {
			continue
		}
		removed, err := s.collect(dir)
		if removed {
			s.Log.Printf("removed a layer that was left unfinished or replaced")
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// removeLock removes the lock file of a build that was killed. Nobody can be
// left with a lock on a removed file: see lock.Acquire.
func removeLock(path string) error {
	unlock, err := lock.Try(path, lock.Exclusive)
	if errors.Is(err, lock.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(path), unlock())
}

// collect removes a directory that no key names, if nobody holds it.
func (s *Store) collect(dir string) (removed bool, err error) {
	release, err := lock.TryExisting(dir, lock.Exclusive)
	if errors.Is(err, lock.ErrHeld) || errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// Whoever makes a layer holds it until after it is named.
	all, err := s.finished()
	if err != nil || slices.ContainsFunc(all, func(l finished) bool { return l.dir == dir }) {
		return false, errors.Join(err, release())
	}
	return true, errors.Join(removeTree(dir), release())
}

// Prune removes the least recently used layers until the rest occupies no more
// than limit bytes. Layers that a build holds stay.
func (s *Store) Prune(limit int64) error {
	all, err := s.finished()
	if err != nil {
		return err
	}
	occupied := int64(0)
	for _, l := range all {
		occupied += l.Occupied
	}
	slices.SortFunc(all, func(a, b finished) int {
		// Of layers that one build used, the topmost goes first.
		return cmp.Or(a.used.Compare(b.used), b.Made.Compare(a.Made))
	})
	var freed int64
	var removed []string
	var problems []error
	for _, l := range all {
		if occupied-freed <= limit {
			break
		}
		gone, err := s.evict(l)
		if gone {
			freed += l.Occupied
			removed = append(removed, l.Title)
		}
		problems = append(problems, err)
	}
	if len(removed) > 0 {
		s.Log.Printf("the layer cache was over its limit of %s: removed the %d least recently used layers, %s (%s)",
			units.BytesSize(float64(limit)), len(removed), units.BytesSize(float64(freed)), summary(removed))
	}
	return errors.Join(problems...)
}

// summary names the first few.
func summary(names []string) string {
	const most = 3
	if len(names) > most {
		names = append(slices.Clone(names[:most]), "…")
	}
	return strings.Join(names, "; ")
}

// evict removes a finished layer if nobody makes or holds it. Its name goes
// first, so that what is half removed never looks finished.
func (s *Store) evict(l finished) (gone bool, err error) {
	lockFile := filepath.Join(s.keysDir(), l.Key+".lock")
	unlock, err := lock.Try(lockFile, lock.Exclusive)
	if errors.Is(err, lock.ErrHeld) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.Remove(lockFile), unlock()) }()
	if s.named(l.Key) != l.dir {
		return false, nil
	}
	release, err := lock.TryExisting(l.dir, lock.Exclusive)
	if errors.Is(err, lock.ErrHeld) {
		return false, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return true, os.Remove(filepath.Join(s.keysDir(), l.Key)) // a name without a layer
	}
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := os.Remove(filepath.Join(s.keysDir(), l.Key)); err != nil {
		return false, err
	}
	return true, removeTree(l.dir)
}

// Verify reads every file of every layer and compares it with what was
// recorded. Layers that do not match lose their name, so that they are made
// again, and are removed as soon as nobody uses them. It returns how many files
// were read and what was found, a line a layer.
func (s *Store) Verify(ctx context.Context) (files int, dropped []string, err error) {
	all, err := s.finished()
	if err != nil {
		return 0, nil, err
	}
	for _, l := range all {
		what, err := s.verify(ctx, l)
		if err != nil {
			return files, dropped, err
		}
		if what != "" {
			dropped = append(dropped, what)
		}
		files += l.Files
	}
	return files, dropped, nil
}

func (s *Store) verify(ctx context.Context, l finished) (what string, err error) {
	lockFile := filepath.Join(s.keysDir(), l.Key+".lock")
	unlock, err := lock.Acquire(ctx, lockFile, lock.Exclusive, s.Log)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.Remove(lockFile), unlock()) }()
	if s.named(l.Key) != l.dir {
		return "", nil
	}
	release, err := lock.TryExisting(l.dir, lock.Shared)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Sprintf("layer %.12s: it is gone", l.Key), s.forget(l.Key)
	}
	if err != nil {
		return "", err
	}
	task := s.Log.Task("reading "+l.Title, 0)
	err = check(ctx, l.dir, true)
	task.End()
	if err = errors.Join(err, release()); err == nil {
		return "", os.Chtimes(filepath.Join(l.dir, recordFile), time.Time{}, l.used)
	}
	if damaged := new(damage); errors.As(err, &damaged) {
		return l.Title + ": " + damaged.Error(), s.forget(l.Key)
	}
	return "", err
}
