package lab

import (
	"archive/tar"
	"io"
	"os"
	"testing"
)

// extract returns the content of one file of a tar archive.
func extract(t *testing.T, archive, path string) string {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("looking for %s in %s: %v", path, archive, err)
		}
		if h.Name == path {
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
	}
}
