package rootfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/progress"
	"github.com/cubeos-app/releases/magefiles/internal/stage"
	"github.com/cubeos-app/releases/magefiles/internal/timing"
)

// Store keeps finished layers by their key. Several builds can use one store
// at the same time.
type Store struct {
	Dir string
	Log *progress.Reporter
}

// Open prepares the store's directory. A path that overlayfs cannot be given
// is refused.
func Open(dir string, log *progress.Reporter) (*Store, error) {
	if strings.ContainsAny(dir, ":,\\") {
		return nil, fmt.Errorf("the cache directory %s has one of : , \\ in its name, which overlayfs cannot take; choose another with -cache", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("preparing the layer cache: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("looking at the layer cache %s: %w", dir, err)
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return nil, fmt.Errorf("the cache directory %s is on an overlay file system (inside a container?), on which overlayfs cannot stack; put it on a volume with -cache", dir)
	}
	return &Store{Dir: dir, Log: log}, nil
}

// Draft is a layer being made. Tree and Notes will be kept, Scratch is removed.
type Draft struct {
	Tree    string // the files of the layer
	Notes   string // a directory for what is to be known of the layer
	Scratch string // on the same file system as Tree
}

// Has reports whether the layer with this key is finished.
func (s *Store) Has(key string) bool {
	_, err := os.Stat(filepath.Join(s.Dir, key, "tree"))
	return err == nil
}

// Notes returns the directory of what was noted of a finished layer, given its tree.
func Notes(tree string) string { return filepath.Join(filepath.Dir(tree), "notes") }

// Layer returns the directory of the layer with the given key. If there is
// none yet, fill makes it; a layer that fill did not finish is never used.
// What a killed build left of the same layer is removed first.
func (s *Store) Layer(ctx context.Context, key string, fill func(context.Context, Draft) error) (dir string, err error) {
	dir = filepath.Join(s.Dir, key)
	tree := filepath.Join(dir, "tree")
	if s.Has(key) {
		return tree, nil
	}
	unlock, err := stage.Lock(ctx, filepath.Join(s.Dir, key+".lock"), s.Log)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if s.Has(key) { // another build has finished it meanwhile
		return tree, nil
	}
	partial := dir + ".partial"
	if err := removeTree(partial); err != nil {
		return "", fmt.Errorf("removing what an earlier build left: %w", err)
	}
	d := Draft{
		Tree:    filepath.Join(partial, "tree"),
		Notes:   filepath.Join(partial, "notes"),
		Scratch: filepath.Join(partial, "scratch"),
	}
	for _, dir := range []string{partial, d.Tree, d.Notes, d.Scratch} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
	}
	began, err := os.Stat(d.Tree)
	if err != nil {
		return "", err
	}
	if err := fill(ctx, d); err != nil {
		return "", errors.Join(err, removeTree(partial))
	}
	if err := forgetTime(d.Tree, began.ModTime()); err != nil {
		return "", err
	}
	_, span := timing.Start(ctx, "writing the layer to disk")
	defer span.End()
	if err := removeTree(d.Scratch); err != nil {
		return "", err
	}
	if err := syncFS(partial); err != nil {
		return "", fmt.Errorf("writing the layer to disk: %w", err)
	}
	return tree, os.Rename(partial, dir)
}

// Sweep removes what killed builds left unfinished. Layers that a running
// build works on are left alone.
func (s *Store) Sweep() error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), ".partial")
		if !ok {
			continue
		}
		f, err := os.OpenFile(filepath.Join(s.Dir, key+".lock"), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return err
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			s.Log.Printf("removing the unfinished layer %.12s of a build that was killed", key)
			err = removeTree(filepath.Join(s.Dir, e.Name()))
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
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
