package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

func TestAnUnknownEngineIsRefusedBeforeAnyWork(t *testing.T) {
	_, err := Open(t.Context(), Options{Workspace: workspace.Workspace{Root: t.TempDir()}, Engine: "docker"})
	if err == nil || !strings.Contains(err.Error(), "embedded and packer") {
		t.Errorf("got %v, want the engines there are", err)
	}
}

func TestOnlyPackerNeedsAPinnedBuilder(t *testing.T) {
	b := newBuild(t, "lab", "1.2.3")
	b.Root, b.Locked = t.TempDir(), true
	list := filepath.Join(b.Root, "packer", "builder.txt")
	if err := os.Mkdir(filepath.Dir(list), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte("packer-builder-arm docker.io/mkaczanowski/packer-builder-arm:1.0.9\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Engine = EmbeddedEngine
	if err := b.checkBuilder(); err != nil {
		t.Errorf("the embedded engine needs no builder: %v", err)
	}
	b.Engine = PackerEngine
	if err := b.checkBuilder(); err == nil || !strings.Contains(err.Error(), "commit packer/builder.lock") {
		t.Errorf("a release with a builder that is not pinned: %v", err)
	}
}
