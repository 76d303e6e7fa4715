package workspace

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// left is what Clean may find: files of every kind, and one that is not ours.
func left(t *testing.T, log *bytes.Buffer) (w Workspace, list func() []string) {
	t.Helper()
	dir := t.TempDir()
	w = Workspace{Root: filepath.Join(dir, "checkout"), Cache: Cache(filepath.Join(dir, "cache")), Log: progress.New(log)}
	for _, path := range []string{
		"checkout/build/x.img", "checkout/docker-images/lab/x.tar", "checkout/README.md",
		"cache/layers/layer-1/tree/f", "cache/base/x.img", "cache/blobs/b", "cache/packages/p.deb", "cache/letters/mine",
	} {
		path = filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, make([]byte, 8192), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return w, func() []string {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range files {
			names = append(names, filepath.Base(f))
		}
		return names
	}
}

func TestCleanRemovesOnlyTheKinds(t *testing.T) {
	all := []string{"base", "blobs", "layers", "letters", "packages", "README.md", "build", "docker-images"}
	for name, tt := range map[string]struct {
		kinds []Kind
		gone  []string
	}{
		"builds": {[]Kind{Builds}, []string{"build", "docker-images"}},
		"layers": {[]Kind{Layers}, []string{"layers"}},
		"two":    {[]Kind{Bases, Packages}, []string{"base", "packages"}},
		"blobs":  {[]Kind{Blobs}, []string{"blobs"}},
		"all":    {AllKinds(), []string{"base", "blobs", "layers", "packages", "build", "docker-images"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			w, list := left(t, &log)
			if err := w.Clean(t.Context(), tt.kinds); err != nil {
				t.Fatal(err)
			}
			want := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return slices.Contains(tt.gone, n) })
			if got := list(); !slices.Equal(got, want) {
				t.Errorf("left %v, want %v", got, want)
			}
			for _, k := range tt.kinds {
				if !strings.Contains(log.String(), "removed the "+string(k)) {
					t.Errorf("it does not say that it removed the %s: %s", k, log.String())
				}
			}
			if !strings.Contains(log.String(), "KiB") {
				t.Errorf("it does not say what that freed: %s", log.String())
			}
		})
	}
}

func TestCleanWaitsForTheBuildsThatUseTheCache(t *testing.T) {
	var log bytes.Buffer
	w, list := left(t, &log)
	building, err := w.Cache.share(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer building()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := w.Clean(ctx, []Kind{Layers}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "use the cache") {
		t.Errorf("got %v, want to wait for the build", err)
	}
	if !slices.Contains(list(), "layers") || !strings.Contains(log.String(), "waiting for") {
		t.Errorf("left %v, said %s", list(), log.String())
	}
	if err := w.Clean(t.Context(), []Kind{Builds}); err != nil {
		t.Errorf("what other checkouts have built is none of its business: %v", err)
	}
}

func TestFreedIsWhatTheDiskGetsBack(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	file := func(path string) error { return os.WriteFile(path, make([]byte, 100<<10), 0o644) }
	err := errors.Join(
		os.Mkdir(tree, 0o755),
		file(filepath.Join(tree, "a")), os.Link(filepath.Join(tree, "a"), filepath.Join(tree, "b")),
		file(filepath.Join(dir, "kept")), os.Link(filepath.Join(dir, "kept"), filepath.Join(tree, "c")),
	)
	if err != nil {
		t.Fatal(err)
	}
	freed, err := remove(tree)
	if err != nil || freed < 100<<10 || freed > 110<<10 {
		t.Errorf("got %d bytes, %v, want those of one file", freed, err)
	}
	if freed, err := remove(tree); freed != 0 || err != nil {
		t.Errorf("what is not there freed %d bytes, %v", freed, err)
	}
}

func TestVerifyLayersSaysWhatItDropped(t *testing.T) {
	cache := Cache(t.TempDir())
	store, err := layer.Open(cache.Layers(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := store.Layer(t.Context(), "key", func(_ context.Context, d layer.Draft) error {
		return errors.Join(d.Title("provisioner 1, x"), os.WriteFile(filepath.Join(d.Tree, "f"), []byte("a"), 0o644))
	})
	if err := errors.Join(err, store.Close(), cache.VerifyLayers(t.Context(), nil)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "f"), []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := cache.VerifyLayers(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "provisioner 1, x: tree/f has other contents") {
		t.Errorf("got %v", err)
	}
	if err := cache.VerifyLayers(t.Context(), nil); err != nil {
		t.Errorf("it is still there: %v", err)
	}
}
