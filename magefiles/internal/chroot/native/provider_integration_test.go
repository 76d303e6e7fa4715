//go:build integration

package native

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// A mirror that has nothing for amd64 makes a build slower, and no more.
func TestNoNativeProgramsToBeHad(t *testing.T) {
	if !Supported() {
		t.Skip("native programs are for amd64 build machines")
	}
	mirror := httptest.NewServer(http.NotFoundHandler())
	defer mirror.Close()
	var out bytes.Buffer
	log := progress.New(&out)
	store, err := layer.Open(filepath.Join(t.TempDir(), "layers"), log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	archives, err := debian.OpenArchives(filepath.Join(store.Dir, "..", "packages"))
	if err != nil {
		t.Fatal(err)
	}
	p := Provider{Suite: "trixie", Mirror: mirror.URL, Store: store, Archives: archives, Log: log}
	for range 2 {
		overlay, err := p.OverlayFor(t.Context(), nil)
		if overlay != nil || err != nil {
			t.Fatalf("got %v, %v, want no overlay and no error", overlay, err)
		}
	}
	if got := strings.Count(out.String(), "warning: everything runs emulated"); got != 1 || !strings.Contains(out.String(), mirror.URL) {
		t.Errorf("want one warning that names the mirror, got:\n%s", out.String())
	}
}
