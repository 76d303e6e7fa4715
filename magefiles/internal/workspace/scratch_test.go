package workspace

import (
	"os"
	"path/filepath"
	"testing"
)

func TestScratchOfAKilledRunIsSwept(t *testing.T) {
	w := Workspace{Root: t.TempDir(), Cache: Cache(t.TempDir())}
	s, err := w.OpenScratch(t.Context(), VerifyScratch)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(s.Dir, "layer")
	if err := os.WriteFile(left, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Fatalf("what is in use was swept: %v", err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.Dir, 0o755); err != nil { // by one that was killed
		t.Fatal(err)
	}
	if err := w.Sweep(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(string(w.Cache)); err != nil || len(entries) > 0 {
		t.Errorf("left in the cache: %v, %v", entries, err)
	}
}

func TestSweepRemovesOnlyHalfMadeFiles(t *testing.T) {
	w := Workspace{Root: t.TempDir(), Cache: Cache(t.TempDir())}
	for _, name := range []string{"x.img", "x.img.partial", "x.img.view/root/file"} {
		path := filepath.Join(w.BuildDir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Sweep(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(w.BuildDir())
	if err != nil || len(entries) != 1 || entries[0].Name() != "x.img" {
		t.Errorf("left %v, %v", entries, err)
	}
}
