package packer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheBuilderIsPinnedOnce(t *testing.T) {
	root := t.TempDir()
	list := filepath.Join(root, "packer", "builder.txt")
	const reference = "docker.io/mkaczanowski/packer-builder-arm:1.0.9"
	if err := os.MkdirAll(filepath.Dir(list), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, []byte("packer-builder-arm "+reference+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadBuilder(root); err != nil || got != (Builder{Reference: reference}) {
		t.Errorf("without a lock: %v, %v", got, err)
	}
	digest := "sha256:" + strings.Repeat("ab", 32)
	if err := PinBuilder(root, digest, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadBuilder(root); err != nil || got.Digest != digest {
		t.Errorf("once pinned: %v, %v", got, err)
	}
	if err := os.WriteFile(list, []byte("packer-builder-arm "+reference+"0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadBuilder(root); err != nil || got.Digest != "" {
		t.Errorf("the digest of another tag was taken: %v, %v", got, err)
	}
}

func TestTheRepositoryNamesABuilder(t *testing.T) {
	if got, err := ReadBuilder(filepath.Join("..", "..", "..", "..")); err != nil || !strings.Contains(got.Reference, "/packer-builder-arm:") {
		t.Errorf("got %v, %v", got, err)
	}
}
