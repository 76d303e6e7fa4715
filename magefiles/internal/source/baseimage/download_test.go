package baseimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// xzLike starts as an xz archive does; Download looks no further.
var xzLike = append([]byte("\xfd7zXZ\x00"), bytes.Repeat([]byte("image "), 50_000)...)

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func serve(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/x.img.xz"
}

func file(t *testing.T, content []byte) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "x.img.xz", time.Time{}, bytes.NewReader(content))
	})
}

func leftovers(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

func TestDownloadIsKeptUnderItsDigest(t *testing.T) {
	dir := t.TempDir()
	img, err := Download(t.Context(), file(t, xzLike), sha(xzLike), true, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(img.Path); err != nil || !bytes.Equal(got, xzLike) {
		t.Fatalf("the file is not what was served: %v", err)
	}
	again, err := Download(t.Context(), "http://127.0.0.1:1/x.img.xz", sha(xzLike), true, dir, nil)
	if err != nil || again != img {
		t.Errorf("a second time it was not taken from the cache: %v", err)
	}
}

func TestDownloadGoesOnWhereItStopped(t *testing.T) {
	var ranges []string
	var cut atomic.Bool
	cut.Store(true)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if cut.CompareAndSwap(true, false) {
			w.Header().Set("Content-Length", "300006")
			w.Write(xzLike[:100_000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(xzLike))
	})
	if _, err := Download(t.Context(), url, sha(xzLike), true, t.TempDir(), nil); err != nil {
		t.Fatal(err)
	}
	if len(ranges) != 2 || ranges[0] != "" || ranges[1] != "bytes=100000-" {
		t.Errorf("asked for the ranges %q, want to go on after 100000 bytes", ranges)
	}
}

func TestDownloadRefusesAndDropsWhatIsWrong(t *testing.T) {
	page := []byte("<html>not found, but politely</html>")
	for name, tt := range map[string]struct {
		served []byte
		sum    string
		want   string
	}{
		"another digest": {xzLike, sha([]byte("other")), "is pinned"},
		"cut off":        {xzLike[:1000], sha(xzLike), "is pinned"},
		"no xz":          {page, sha(page), "no xz archive"},
		"empty":          {nil, sha(nil), "no xz archive"},
	} {
		dir := t.TempDir()
		_, err := Download(t.Context(), file(t, tt.served), tt.sum, true, dir, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "x.img.xz") {
			t.Errorf("%s: got %v, want %q and the file's address", name, err, tt.want)
		}
		if left := leftovers(t, dir); left != "" {
			t.Errorf("%s: %s was kept", name, left)
		}
	}
}

func TestALocalFileIsVerifiedAndUsedWhereItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.img.xz")
	if err := os.WriteFile(path, xzLike, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{path, "file://" + path} {
		img, err := Download(t.Context(), url, sha(xzLike), true, t.TempDir(), nil)
		if err != nil || img.Path != path {
			t.Errorf("%s: got %+v, %v", url, img, err)
		}
	}
	if _, err := Download(t.Context(), path, sha(nil), true, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want the path of the file that is not the pinned one", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a user's own file was touched: %v", err)
	}
}

func TestDownloadSaysWhatTheServerSaid(t *testing.T) {
	var asked atomic.Int32
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(w, "gone", http.StatusNotFound)
	})
	_, err := Download(t.Context(), url, sha(xzLike), true, t.TempDir(), nil)
	if err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v, want the server's answer", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times for a file that is not there", n)
	}
}

func TestACancelledDownloadKeepsWhatItHasForTheNext(t *testing.T) {
	dir := t.TempDir()
	partial := filepath.Join(dir, sha(xzLike)+"-x.img.xz.partial")
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "300006")
		w.Write(xzLike[:100_000])
		w.(http.Flusher).Flush()
		for r.Context().Err() == nil {
			if info, err := os.Stat(partial); err == nil && info.Size() == 100_000 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	})
	if _, err := Download(ctx, url, sha(xzLike), true, dir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if info, err := os.Stat(partial); err != nil || info.Size() != 100_000 || leftovers(t, dir) != filepath.Base(partial) {
		t.Errorf("left %q, want only the partial file: %v", leftovers(t, dir), err)
	}
	if _, err := Download(t.Context(), file(t, xzLike), sha(xzLike), true, dir, nil); err != nil {
		t.Errorf("the next one did not go on: %v", err)
	}
}

func TestBootstrapIdentity(t *testing.T) {
	a, b := Debian{Suite: "trixie", Mirror: "http://a/debian"}, Debian{Suite: "trixie", Mirror: "http://b/debian"}
	if a.id() == b.id() || a.diskID() == 0 {
		t.Error("another mirror has to be another base image, and a disk id is never 0")
	}
	l := a.layout()
	if l.Root.UUID == l.Root.HashSeed || len(l.Root.UUID) != 36 || l.Root.UUID[14] != '4' {
		t.Errorf("UUID %s, hash seed %s", l.Root.UUID, l.Root.HashSeed)
	}
}
