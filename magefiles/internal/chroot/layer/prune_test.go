package layer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSweepSparesWhatIsNamedOrHeld(t *testing.T) {
	c := newCache(t)
	other := c.open()
	c.layer(other, "finished")
	other.Close()
	stale := filepath.Join(c.dir, layerPrefix+"1", "tree", "closed")
	if err := errors.Join(os.MkdirAll(stale, 0o755), os.Chmod(stale, 0)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "keys", "killed.lock"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := c.open()
	_, err := s.Layer(t.Context(), "busy", func(_ context.Context, d Draft) error {
		if err := c.open().Sweep(); err != nil {
			t.Error(err)
		}
		return populate(d.Tree)
	})
	if err != nil {
		t.Errorf("the layer being made was swept: %v", err)
	}
	keys, layers := c.names()
	if want := []string{"busy", "finished"}; !slices.Equal(keys, want) || len(layers) != 2 {
		t.Errorf("left %v, %v, want the layers of %v", keys, layers, want)
	}
}

func TestPruneRemovesTheLeastRecentlyUsed(t *testing.T) {
	c := newCache(t)
	var size int64
	for i, keys := range [][]string{{"old-base", "old-top"}, {"base", "top"}, {"base", "new-top"}} {
		s := c.open()
		s.opened = time.Unix(int64(i), 0)
		for _, key := range keys {
			c.layer(s, key)
		}
		all, err := s.finished()
		if err != nil {
			t.Fatal(err)
		}
		size = all[0].Occupied
		s.Close()
	}
	if size < 3*4096 {
		t.Fatalf("a layer's size is recorded as %d", size)
	}
	holder := c.open()
	holder.opened = time.Unix(3, 0)
	for _, step := range []struct {
		limit int64
		held  string
		left  []string
	}{
		{5 * size, "", []string{"base", "new-top", "old-base", "old-top", "top"}},
		{4 * size, "", []string{"base", "new-top", "old-base", "top"}}, // of one build's, the topmost
		{2 * size, "", []string{"base", "new-top"}},
		{1 * size, "new-top", []string{"new-top"}},
		{0, "", []string{"new-top"}},
	} {
		if step.held != "" {
			c.layer(holder, step.held)
		}
		if err := c.open().Prune(step.limit); err != nil {
			t.Fatal(err)
		}
		if keys, layers := c.names(); !slices.Equal(keys, step.left) || len(layers) != len(step.left) {
			t.Errorf("a limit of %d layers left %v, want %v", step.limit/size, keys, step.left)
		}
	}
	if !strings.Contains(c.log.String(), "over its limit") || !strings.Contains(c.log.String(), "the layer of old-top") {
		t.Errorf("nobody was told: %s", c.log.String())
	}
}

func TestVerifyReadsEverything(t *testing.T) {
	c := newCache(t)
	s := c.open()
	good, _ := c.layer(s, "good")
	bad, _ := c.layer(s, "bad")
	s.Close()
	// What a failing disk does: other contents, the same times.
	files, err := readFiles(filepath.Dir(bad))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bad, "etc/conf"), []byte("Contents"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		now, err := lstat(filepath.Join(filepath.Dir(bad), files[i].path))
		if err != nil {
			t.Fatal(err)
		}
		files[i].mtime, files[i].ctime = now.mtime, now.ctime
	}
	if err := writeFiles(filepath.Dir(bad), files); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), filepath.Dir(bad), false); err != nil {
		t.Fatalf("the times give it away: %v", err)
	}
	read, dropped, err := c.open().Verify(t.Context())
	if err != nil || len(dropped) != 1 || !strings.Contains(dropped[0], "the layer of bad: tree/etc/conf has other contents") || read == 0 {
		t.Errorf("got %d, %q, %v", read, dropped, err)
	}
	if keys, layers := c.names(); !slices.Equal(keys, []string{"good"}) || len(layers) != 1 || treeIn(layers[0]) != good {
		t.Errorf("left %v, %v", keys, layers)
	}
}
