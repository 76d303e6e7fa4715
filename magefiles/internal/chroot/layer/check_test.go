package layer

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestADamagedLayerIsNeverUsed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(tree string) error
		want   string
	}{
		"a byte with size and time kept": {func(tree string) error {
			conf := filepath.Join(tree, "etc/conf")
			return back(t, conf, func() error { return os.WriteFile(conf, []byte("Contents"), 0o644) })
		}, "tree/etc/conf has other contents"},
		"size":     {func(tree string) error { return os.Truncate(filepath.Join(tree, "etc/other"), 9) }, "tree/etc/other has 9 bytes, not 10000"},
		"mode":     {func(tree string) error { return os.Chmod(filepath.Join(tree, "etc/conf"), 0o600) }, "tree/etc/conf has the mode 0600, not 0644"},
		"missing":  {func(tree string) error { return os.Remove(filepath.Join(tree, "etc/link")) }, "tree/etc/link is missing"},
		"the last": {func(tree string) error { return os.Remove(filepath.Join(tree, "etc/other")) }, "tree/etc/other is missing"},
		"empty":    {func(tree string) error { return os.RemoveAll(filepath.Join(tree, "etc")) }, "tree/etc is missing"},
		"no tree":  {os.RemoveAll, "tree cannot be read"},
		"added":    {func(tree string) error { return os.Mkdir(filepath.Join(tree, "etc/d"), 0o755) }, "tree/etc/d was added"},
		"at end":   {func(tree string) error { return os.Mkdir(filepath.Join(tree, "z"), 0o755) }, "tree/z was added"},
		"type":     {func(tree string) error { return swap(filepath.Join(tree, "etc/conf"), os.Mkdir) }, "tree/etc/conf is of another type"},
		"link":     {func(tree string) error { return swap(filepath.Join(tree, "etc/link"), linkTo("other")) }, "tree/etc/link points to other, not conf"},
		"attribute": {func(tree string) error {
			return unix.Setxattr(filepath.Join(tree, "etc/conf"), "user.x", []byte("1"), 0)
		}, "tree/etc/conf has other extended attributes"},
		"note": {func(tree string) error {
			return os.WriteFile(filepath.Join(Notes(tree), titleFile), []byte("x"), 0o644)
		}, "notes/title has 1 bytes"},
		"list": {func(tree string) error { return os.Truncate(filepath.Join(filepath.Dir(tree), filesFile), 200) }, "its record cannot be read"},
		"list's line": {func(tree string) error {
			path := filepath.Join(filepath.Dir(tree), filesFile)
			raw, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path, bytes.Replace(raw, []byte("etc/other"), []byte("etc/mother"), 1), 0o644))
		}, "its record is not what was written"},
		"record": {func(tree string) error { return os.Remove(filepath.Join(filepath.Dir(tree), recordFile)) }, "its record cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCache(t)
			s := c.open()
			tree, _ := c.layer(s, "key")
			s.Close()
			if err := tt.change(tree); err != nil {
				t.Fatal(err)
			}
			s = c.open()
			again, made := c.layer(s, "key")
			if !made {
				t.Fatal("it was used")
			}
			if raw, err := os.ReadFile(filepath.Join(again, "etc/conf")); err != nil || string(raw) != "contents" {
				t.Errorf("the new one is not what was made: %q, %v", raw, err)
			}
			if log := c.log.String(); !strings.Contains(log, tt.want) || !strings.Contains(log, "key") {
				t.Errorf("the message does not say %q:\n%s", tt.want, log)
			}
			if keys, layers := c.names(); len(keys) != 1 || len(layers) != 1 {
				t.Errorf("the store holds %v, %v: the damaged layer is still there", keys, layers)
			}
			s.Close()
			if _, made := c.layer(c.open(), "key"); made {
				t.Error("the new one was not used")
			}
		})
	}
}

func swap(path string, put func(string, fs.FileMode) error) error {
	return errors.Join(os.Remove(path), put(path, 0o755))
}

func linkTo(target string) func(string, fs.FileMode) error {
	return func(path string, _ fs.FileMode) error { return os.Symlink(target, path) }
}

func TestALayerThatIsGoneIsMadeAgain(t *testing.T) {
	c := newCache(t)
	for _, notice := range []func(s *Store) error{
		func(s *Store) error { return nil },
		func(s *Store) error { return s.Prune(0) },
		func(s *Store) error { _, _, err := s.Verify(t.Context()); return err },
	} {
		s := c.open()
		tree, _ := c.layer(s, "key")
		s.Close()
		if err := os.RemoveAll(filepath.Dir(tree)); err != nil {
			t.Fatal(err)
		}
		s = c.open()
		if err := notice(s); err != nil {
			t.Error(err)
		}
		if _, made := c.layer(s, "key"); !made {
			t.Error("it was used")
		}
		s.Close()
	}
}

func TestOtherTimesAloneAreNoDamage(t *testing.T) {
	c := newCache(t)
	s := c.open()
	tree, _ := c.layer(s, "key")
	s.Close()
	conf := filepath.Join(tree, "etc/conf")
	awaitTick(t, conf)
	for _, change := range []func() error{
		func() error { return os.Link(conf, filepath.Join(t.TempDir(), "linked")) },
		func() error { return os.Chtimes(conf, time.Time{}, time.Unix(1, 0)) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		s := c.open()
		if _, made := c.layer(s, "key"); made {
			t.Fatalf("the layer was made again: %s", c.log.String())
		}
		s.Close()
		want, err := readFiles(filepath.Dir(tree))
		if err != nil {
			t.Fatal(err)
		}
		if _, doubtful, err := compare(t.Context(), filepath.Dir(tree), want, false); err != nil || len(doubtful) > 0 {
			t.Errorf("the next check reads %d files again, %v", len(doubtful), err)
		}
	}
}
