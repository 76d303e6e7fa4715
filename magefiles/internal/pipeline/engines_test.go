package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/build/packer"
)

func TestAnUnknownEngineIsRefusedBeforeAnyWork(t *testing.T) {
	_, err := Open(t.Context(), Options{Root: t.TempDir(), Engine: "docker"})
	if err == nil || !strings.Contains(err.Error(), "embedded and packer") {
		t.Errorf("got %v, want the engines there are", err)
	}
}

func TestTheBuilderIsPinnedOnce(t *testing.T) {
	b := newBuild(t, "lab", "1.2.3")
	b.Root = t.TempDir()
	list := filepath.Join(b.Root, "packer", "builder.txt")
	const reference = "docker.io/mkaczanowski/packer-builder-arm:1.0.9"
	if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte("packer-builder-arm "+reference+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := b.builder(); err != nil || got != (packer.Builder{Reference: reference}) {
		t.Errorf("without a lock: %v, %v", got, err)
	}
	b.Locked, b.Engine = true, EmbeddedEngine
	if err := b.checkBuilder(); err != nil {
		t.Errorf("the embedded engine needs no builder: %v", err)
	}
	b.Engine = PackerEngine
	if err := b.checkBuilder(); err == nil || !strings.Contains(err.Error(), "commit packer/builder.lock") {
		t.Errorf("a release with a builder that is not pinned: %v", err)
	}
	digest := "sha256:" + strings.Repeat("ab", 32)
	if err := b.pinBuilder(digest); err != nil {
		t.Fatal(err)
	}
	if got, err := b.builder(); err != nil || got.Digest != digest {
		t.Errorf("once pinned: %v, %v", got, err)
	}
	if err := os.WriteFile(list, []byte("packer-builder-arm "+reference+"0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := b.builder(); err == nil {
		t.Errorf("the digest of another tag was taken: %v", got)
	}
}

func TestTheRepositoryNamesABuilder(t *testing.T) {
	b := newBuild(t, "lab", "1.2.3")
	b.Root = filepath.Join("..", "..", "..")
	if got, err := b.builder(); err != nil || !strings.Contains(got.Reference, "/packer-builder-arm:") {
		t.Errorf("got %v, %v", got, err)
	}
}
