package containerimage

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// testRegistry is a real registry with a handler before it that a test can use
// to count requests and to break answers.
type testRegistry struct {
	addr string

	mu        sync.Mutex
	requests  map[string]int // "GET blobs"
	intercept func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func startRegistry(t *testing.T) *testRegistry {
	t.Helper()
	tr := &testRegistry{requests: map[string]int{}}
	next := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tr.mu.Lock()
		for _, kind := range []string{"blobs", "manifests"} {
			if strings.Contains(r.URL.Path, "/"+kind+"/") {
				tr.requests[r.Method+" "+kind]++
			}
		}
		intercept := tr.intercept
		tr.mu.Unlock()
		if intercept != nil {
			intercept(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	tr.addr = strings.TrimPrefix(srv.URL, "http://")
	return tr
}

func (tr *testRegistry) answer(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.intercept = f
}

func (tr *testRegistry) resetCounts() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	clear(tr.requests)
}

func (tr *testRegistry) count(what string) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.requests[what]
}

func testImage(t *testing.T, arch string, layers int) v1.Image {
	t.Helper()
	img, err := random.Image(64<<10, int64(layers))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func testIndex(images map[string]v1.Image) v1.ImageIndex {
	index := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"amd64", "arm64", "unknown"} {
		if img, ok := images[arch]; ok {
			index = mutate.AppendManifests(index, mutate.IndexAddendum{
				Add:        img,
				Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
			})
		}
	}
	return index
}

// push puts what under the path that reference has on a mirror.
func (tr *testRegistry) push(t *testing.T, reference string, what remote.Taggable) {
	t.Helper()
	tag, err := MirrorPath(tr.addr, reference)
	if err != nil {
		t.Fatal(err)
	}
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(tag, what)
	case v1.ImageIndex:
		err = remote.WriteIndex(tag, what)
	default:
		err = fmt.Errorf("what is %T", what)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

const (
	refA = "docker.io/example/a:1.0"
	refB = "ghcr.io/example/b:2.0"
)

// testOptions returns options for a list of those images, on tr.
func testOptions(t *testing.T, tr *testRegistry, list ...string) Options {
	t.Helper()
	dir := t.TempDir()
	writeTestFile(t, filepath.Join(dir, "images.txt"), strings.Join(list, "\n")+"\n")
	return Options{
		ListFile:   filepath.Join(dir, "images.txt"),
		LockFile:   filepath.Join(dir, "images.lock"),
		Dir:        filepath.Join(dir, "archives"),
		CacheDir:   filepath.Join(dir, "cache"),
		Mirror:     tr.addr,
		retryDelay: time.Millisecond,
	}
}

func writeTestFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mustTag(t *testing.T, s string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

// files lists what is in dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
