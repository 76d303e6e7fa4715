// Package layer keeps root file systems as layers of files, in a cache that
// several builds can use at the same time.
package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Store keeps finished layers. Several builds can use one store at the same
// time.
//
// A layer is a directory with a name of its own, and keys/KEY is a symbolic
// link to it, made when the layer is finished. So a layer is replaced by moving
// the link; the old one stays for those who still use it. Whoever makes or uses
// a layer holds a shared lock on its directory. A directory that no key names
// and nobody holds is garbage, whatever it came from: a build that was killed, a
// layer that was replaced, an eviction that was cut off.
//
// Nobody ever waits for the users of a layer, only for the one who makes it, and
// making a layer takes no other: so two builds can not wait for each other.
type Store struct {
	Dir string
	Log *progress.Reporter
	*session
	rebuild bool
}

// session is what was done between Open and Close.
type session struct {
	opened time.Time

	mu    sync.Mutex
	used  map[string]use // by key
	holds []func() error
}

type use struct {
	dir  string
	made bool // by this session
}

// Open prepares the store's directory and refuses one that cannot hold layers.
func Open(dir string, log *progress.Reporter) (*Store, error) {
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	return &Store{Dir: dir, Log: log, session: &session{opened: time.Now(), used: map[string]use{}}}, nil
}

// Close gives back the layers that were used: others may remove them now.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var problems []error
	for _, release := range s.holds {
		problems = append(problems, release())
	}
	s.holds, s.used = nil, map[string]use{}
	return errors.Join(problems...)
}

// Rebuilding returns the same store, but one that makes every layer again that
// was not made since the store was opened.
func (s *Store) Rebuilding() *Store {
	rebuilding := *s
	rebuilding.rebuild = true
	return &rebuilding
}

// Draft is a layer being made. Tree and Notes will be kept, Scratch is removed.
type Draft struct {
	Tree    string // the files of the layer
	Notes   string // a directory for what is to be known of the layer
	Scratch string // on the same file system as Tree
}

// Empty takes back what is in Tree.
func (d Draft) Empty() error {
	if err := removeTree(d.Tree); err != nil {
		return err
	}
	return os.Mkdir(d.Tree, 0o755)
}

// Title says what the layer is, for messages to people.
func (d Draft) Title(title string) error {
	return os.WriteFile(filepath.Join(d.Notes, titleFile), []byte(title), 0o644)
}

// Notes returns the directory of what was noted of a finished layer, given its tree.
func Notes(tree string) string { return filepath.Join(filepath.Dir(tree), "notes") }

// Identity names what is in a finished layer, given its tree: equal identities
// mean equal files, their times left out. What is made on top of a layer
// depends on it, since making a layer again may give other files.
func Identity(tree string) (string, error) {
	r, err := readRecord(filepath.Dir(tree))
	if err != nil {
		return "", fmt.Errorf("reading what the layer %s is: %w", tree, err)
	}
	return r.Identity, nil
}

// Layer returns the directory of the layer with the given key, which is this
// store's to read until Close. If there is none, or what is there is not what
// was once made, fill makes it; a layer that fill did not finish is never used.
func (s *Store) Layer(ctx context.Context, key string, fill func(context.Context, Draft) error) (tree string, err error) {
	before := s.named(key)
	dir, err := s.use(ctx, key, before)
	if dir != "" || err != nil {
		return treeIn(dir), err
	}
	lockFile := filepath.Join(s.keysDir(), key+".lock")
	unlock, err := lock.Acquire(ctx, lockFile, lock.Exclusive, s.Log)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.Remove(lockFile), unlock()) }()
	if now := s.named(key); now != before { // another build has made it meanwhile
		if dir, err = s.use(ctx, key, now); dir != "" || err != nil {
			return treeIn(dir), err
		}
	}
	if err := s.forget(key); err != nil {
		return "", err
	}
	dir, err = s.make(ctx, key, fill)
	return treeIn(dir), err
}

func treeIn(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "tree")
}

func (s *Store) keysDir() string { return filepath.Join(s.Dir, "keys") }

// named returns the directory of the finished layer with the key, or "".
func (s *Store) named(key string) string {
	to, err := os.Readlink(filepath.Join(s.keysDir(), key))
	if err != nil {
		return ""
	}
	return filepath.Join(s.keysDir(), to)
}

// use takes the layer at dir for this session if it may be used.
func (s *Store) use(ctx context.Context, key, dir string) (string, error) {
	s.mu.Lock()
	have, ok := s.used[key]
	s.mu.Unlock()
	if ok && (have.made || !s.rebuild) {
		return have.dir, nil
	}
	if dir == "" || s.rebuild {
		return "", nil
	}
	release, err := lock.TryExisting(dir, lock.Shared)
	if errors.Is(err, lock.ErrHeld) || errors.Is(err, fs.ErrNotExist) {
		return "", nil // it is being removed
	}
	if err != nil {
		return "", err
	}
	checking, span := timing.Start(ctx, "checking a layer")
	err = check(checking, dir, false)
	span.End()
	if damaged := new(damage); errors.As(err, &damaged) {
		s.report(dir, key, damaged)
		return "", release()
	}
	if err == nil {
		err = s.touch(dir)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("checking the layer %s: %w", dir, ExplainFull(s.Dir, err)), release())
	}
	return s.keep(key, use{dir: dir}, release)
}

func (s *Store) report(dir, key string, d *damage) {
	name := title(dir, key)
	if r, err := readRecord(dir); err == nil {
		name = r.Title
	}
	s.Log.Printf("warning: the cached %s (%.12s) was changed or damaged since it was made: %s; it is made again", name, key, d)
}

// touch records that this session uses the layer. All of a session's uses have
// one time: what lies below was taken first, but is needed as long.
func (s *Store) touch(dir string) error {
	return os.Chtimes(filepath.Join(dir, recordFile), time.Time{}, s.opened)
}

// keep notes a layer as used until Close. Of two that the same session took at
// once, the first stays.
func (s *Store) keep(key string, u use, release func() error) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = append(s.holds, release)
	if have, ok := s.used[key]; ok && have.dir == u.dir {
		return have.dir, nil
	}
	s.used[key] = u
	return u.dir, nil
}

// forget takes the name from the layer with the key. It needs the key's lock.
func (s *Store) forget(key string) error {
	dir := s.named(key)
	if err := os.Remove(filepath.Join(s.keysDir(), key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting a layer: %w", err)
	}
	if dir == "" {
		return nil
	}
	_, err := s.collect(dir)
	return err
}

func (s *Store) make(ctx context.Context, key string, fill func(context.Context, Draft) error) (made string, err error) {
	dir, release, err := s.newDir()
	if err != nil {
		return "", ExplainFull(s.Dir, err)
	}
	defer func() {
		if err != nil {
			err = ExplainFull(s.Dir, err) // before what fills it is removed
			err = errors.Join(err, removeTree(dir), release())
		}
	}()
	d := Draft{
		Tree:    treeIn(dir),
		Notes:   filepath.Join(dir, "notes"),
		Scratch: filepath.Join(dir, "scratch"),
	}
	for _, part := range []string{d.Tree, d.Notes, d.Scratch} {
		if err := os.Mkdir(part, 0o755); err != nil {
			return "", err
		}
	}
	began, err := os.Stat(d.Tree)
	if err != nil {
		return "", err
	}
	if err := fill(ctx, d); err != nil {
		return "", err
	}
	if err := forgetTime(d.Tree, began.ModTime()); err != nil {
		return "", err
	}
	ctx, span := timing.Start(ctx, "writing the layer to disk")
	defer span.End()
	if err := s.finish(ctx, dir, key); err != nil {
		return "", fmt.Errorf("finishing the layer: %w", err)
	}
	return s.keep(key, use{dir, true}, release)
}

// finish makes a layer of what was filled and gives it its name.
func (s *Store) finish(ctx context.Context, dir, key string) error {
	if err := removeTree(filepath.Join(dir, "scratch")); err != nil {
		return err
	}
	if err := takeRecord(ctx, dir, key); err != nil {
		return err
	}
	if err := s.touch(dir); err != nil {
		return err
	}
	if err := syncFS(dir); err != nil {
		return err
	}
	return os.Symlink(filepath.Join("..", filepath.Base(dir)), filepath.Join(s.keysDir(), key))
}

// newDir makes a directory for a layer and holds it, so that no other build
// takes it for garbage.
func (s *Store) newDir() (dir string, release func() error, err error) {
	for {
		if dir, err = os.MkdirTemp(s.Dir, layerPrefix); err != nil {
			return "", nil, err
		}
		release, err = lock.TryExisting(dir, lock.Shared)
		if err == nil {
			return dir, release, os.Chmod(dir, 0o755)
		}
		if !errors.Is(err, lock.ErrHeld) && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
	}
}

func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// removeTree is os.RemoveAll for trees of the image, whose directories may
// lack the write bit.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	walkErr := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(walkErr, os.RemoveAll(dir))
}
