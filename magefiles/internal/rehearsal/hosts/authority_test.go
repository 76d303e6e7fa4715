package hosts

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestAnAuthorityIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(dir)
	if err != nil || !bytes.Equal(first.PEM, again.PEM) || !first.key.Equal(again.key) {
		t.Errorf("it is another one the second time: %v", err)
	}
	if _, err := again.server(); err != nil {
		t.Error(err)
	}
	path := filepath.Join(dir, "authority.key")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its key is %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := OpenAuthority(dir); err != nil || bytes.Equal(first.PEM, other.PEM) {
		t.Errorf("a damaged one was used: %v", err)
	}
}
