package packer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// What the recipe names may be a link; inside a directory a link stays one.
func TestArchiveFollowsWhatItIsGiven(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	err := errors.Join(
		os.Mkdir(in("real"), 0o755), os.WriteFile(in("real/a"), []byte("content"), 0o644),
		os.Symlink("a", in("real/inside")), os.Symlink("real", in("dir")), os.Symlink("real/a", in("file")),
	)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	a := archive{tar.NewWriter(&packed), progress.New(io.Discard).Task("", 0)}
	if err := errors.Join(a.tree(in("dir"), "/d"), a.tree(in("file"), "/f"), a.w.Close()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for r := tar.NewReader(&packed); ; {
		head, err := r.Next()
		if err == io.EOF {
			break
		}
		content, readErr := io.ReadAll(r)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		got[head.Name] = string(head.Typeflag) + string(content) + head.Linkname
	}
	want := map[string]string{"d": "5", "d/a": "0content", "d/inside": "2a", "f": "0content"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatTheContainerSees(t *testing.T) {
	outside, root := t.TempDir(), filepath.Join(t.TempDir(), "checkout")
	in := func(name string) string { return filepath.Join(root, name) }
	err := errors.Join(
		os.Mkdir(root, 0o755), os.Mkdir(in("files"), 0o755), os.Symlink("files", in("link")), os.Symlink(outside, in("away")),
		os.Symlink(root, filepath.Join(outside, "checkout")),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{root, filepath.Join(outside, "checkout")} {
		for name, want := range map[string]bool{"files/": true, "link/": true, "missing": true, "away/": false, "../x": false} {
			if got := (Engine{Root: root}).holds(root + "/" + name); got != want {
				t.Errorf("%s in %s: %t, want %t", name, root, got, want)
			}
		}
	}
}
