package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// cache is a store's directory and what its sessions say.
type cache struct {
	*testing.T
	dir      string
	log      bytes.Buffer
	reporter *progress.Reporter
}

func newCache(t *testing.T) *cache {
	c := &cache{T: t, dir: t.TempDir()}
	c.reporter = progress.New(&c.log)
	return c
}

func (c *cache) open() *Store {
	c.Helper()
	s, err := Open(c.dir, c.reporter)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { s.Close() })
	return s
}

// layer takes a layer from s and reports whether it was made for this.
func (c *cache) layer(s *Store, key string) (tree string, made bool) {
	c.Helper()
	tree, err := s.Layer(c.Context(), key, func(_ context.Context, d Draft) error {
		made = true
		return errors.Join(d.Title("the layer of "+key), populate(d.Tree))
	})
	if err != nil {
		c.Fatal(err)
	}
	return tree, made
}

func populate(tree string) error {
	return errors.Join(
		os.Mkdir(filepath.Join(tree, "etc"), 0o755),
		os.WriteFile(filepath.Join(tree, "etc/conf"), []byte("contents"), 0o644),
		os.WriteFile(filepath.Join(tree, "etc/other"), bytes.Repeat([]byte("x"), 10_000), 0o644),
		os.Symlink("conf", filepath.Join(tree, "etc/link")),
	)
}

// names lists what is in the store.
func (c *cache) names() (keys, layers []string) {
	c.Helper()
	entries, err := os.ReadDir(filepath.Join(c.dir, "keys"))
	if err != nil {
		c.Fatal(err)
	}
	for _, e := range entries {
		keys = append(keys, e.Name())
	}
	layers, err = filepath.Glob(filepath.Join(c.dir, layerPrefix+"*"))
	if err != nil {
		c.Fatal(err)
	}
	return keys, layers
}

// back changes a file and gives it its old modification time back: only the
// kernel's own time then tells of the change.
func back(t *testing.T, path string, change func() error) error {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	awaitTick(t, path)
	return errors.Join(change(), os.Chtimes(path, time.Time{}, info.ModTime()))
}

// awaitTick waits until a change of the file would give it another time: the
// kernel's clock for files goes in steps.
func awaitTick(t *testing.T, path string) {
	t.Helper()
	changed := func(path string) unix.Timespec {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ctim
	}
	probe := filepath.Join(t.TempDir(), "probe")
	for since := changed(path); ; time.Sleep(time.Millisecond) {
		if err := os.WriteFile(probe, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if changed(probe) != since {
			return
		}
	}
}

func TestIdentityIsThatOfTheFiles(t *testing.T) {
	c := newCache(t)
	s := c.open()
	made := func(key string, change func(tree string) error) string {
		t.Helper()
		tree, err := s.Layer(t.Context(), key, func(_ context.Context, d Draft) error {
			return errors.Join(populate(d.Tree), change(d.Tree))
		})
		if err != nil {
			t.Fatal(err)
		}
		id, err := Identity(tree)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := made("first", func(string) error { return nil })
	if other := made("other", func(tree string) error {
		return os.Chtimes(filepath.Join(tree, "etc/conf"), time.Time{}, time.Unix(1, 0))
	}); other != first {
		t.Error("a time changed it")
	}
	if other := made("third", func(tree string) error { return os.Chmod(filepath.Join(tree, "etc"), 0o700) }); other == first {
		t.Error("a mode did not change it")
	}
}

func TestRebuildingMakesEachLayerOnceMore(t *testing.T) {
	c := newCache(t)
	old, _ := c.layer(c.open(), "key") // of a build that still runs
	s := c.open()
	c.layer(s, "key")
	rebuilding := s.Rebuilding()
	tree, made := c.layer(rebuilding, "key")
	if !made || tree == old {
		t.Fatal("the old one was used")
	}
	if _, err := os.Stat(old); err != nil {
		t.Errorf("the old one went although it is in use: %v", err)
	}
	for _, s := range []*Store{rebuilding, s} {
		if again, made := c.layer(s, "key"); made || again != tree {
			t.Error("the new one was not used")
		}
	}
	if keys, layers := c.names(); len(keys) != 1 || len(layers) != 2 {
		t.Errorf("left %v, %v, want both", keys, layers)
	}
}

func TestALayerThatWasNotFinishedIsNotThere(t *testing.T) {
	c := newCache(t)
	s := c.open()
	broken := errors.New("broken")
	if _, err := s.Layer(t.Context(), "key", func(_ context.Context, d Draft) error {
		return errors.Join(populate(d.Tree), broken)
	}); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if keys, layers := c.names(); len(keys)+len(layers) > 0 {
		t.Errorf("left %v, %v", keys, layers)
	}
	if _, made := c.layer(s, "key"); !made {
		t.Error("it was taken for finished")
	}
}

func TestADamagedLayerIsMadeAgainOnce(t *testing.T) {
	c := newCache(t)
	s := c.open()
	tree, _ := c.layer(s, "key")
	s.Close()
	if err := os.Remove(filepath.Join(tree, "etc/conf")); err != nil {
		t.Fatal(err)
	}
	if fills := race(c, 4); fills != 1 {
		t.Errorf("it was made %d times", fills)
	}
}

func TestTwoBuildsMakeALayerOnce(t *testing.T) {
	if fills := race(newCache(t), 4); fills != 1 {
		t.Errorf("it was made %d times", fills)
	}
}

// race lets builds take the same layer at once and returns how often it was made.
func race(c *cache, builds int) int32 {
	var fills atomic.Int32
	var running, begun sync.WaitGroup
	begun.Add(builds)
	for range builds {
		s := c.open()
		running.Go(func() {
			begun.Done()
			tree, err := s.Layer(c.Context(), "key", func(_ context.Context, d Draft) error {
				fills.Add(1)
				begun.Wait() // until the others want it, too
				return populate(d.Tree)
			})
			if raw, readErr := os.ReadFile(filepath.Join(tree, "etc/conf")); errors.Join(err, readErr) != nil || string(raw) != "contents" {
				c.Errorf("got %q, %v, %v", raw, err, readErr)
			}
		})
	}
	running.Wait()
	return fills.Load()
}

// TestManySessions lets builds use, rebuild, evict and sweep the same few
// layers at once. None may see a layer that is not whole, and nobody may
// wait for ever.
func TestManySessions(t *testing.T) {
	dir := t.TempDir()
	var made atomic.Int32
	var builds sync.WaitGroup
	for n := range 6 {
		builds.Go(func() {
			for round := range 15 {
				if err := work(t.Context(), dir, n, round, &made); err != nil {
					t.Errorf("build %d: %v", n, err)
					return
				}
			}
		})
	}
	finished := make(chan struct{})
	go func() { builds.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-time.After(2 * time.Minute):
		t.Fatal("the builds wait for each other")
	}
	s, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Sweep(), s.Prune(0)); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if n := made.Load(); n < 4 {
		t.Errorf("only %d layers were made", n)
	}
}

func work(ctx context.Context, dir string, n, round int, made *atomic.Int32) (err error) {
	s, err := Open(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(), s.Prune(int64(n)*20_000), s.Sweep()) }()
	if err := s.Sweep(); err != nil {
		return err
	}
	var trees []string
	for i := range 4 {
		key := fmt.Sprint("key", (i+n)%4) // each in another order
		store := s
		if n == 0 && i > round%4 {
			store = s.Rebuilding()
		}
		tree, err := store.Layer(ctx, key, func(_ context.Context, d Draft) error {
			made.Add(1)
			return populate(d.Tree)
		})
		if err != nil {
			return err
		}
		trees = append(trees, tree)
	}
	for _, tree := range trees {
		raw, err := os.ReadFile(filepath.Join(tree, "etc/conf"))
		if err != nil || string(raw) != "contents" {
			return fmt.Errorf("a layer in use is not whole: %q, %w", raw, err)
		}
	}
	return nil
}

func TestOpenRefusesWhereNoLayersCanBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		filepath.Join(file, "cache"):            "is a file",
		filepath.Join(t.TempDir(), "a:b"):       "overlayfs cannot take",
		"/proc/sys/cache":                       "cannot be used",
		filepath.Join(t.TempDir(), "comma,dir"): "overlayfs cannot take",
	} {
		if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "-cache") {
			t.Errorf("%s: got %v, want %q and what to do", dir, err, want)
		}
	}
}
