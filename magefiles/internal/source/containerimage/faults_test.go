package containerimage

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
)

// isLayer reports whether r asks for one of img's layers.
func isLayer(t *testing.T, img v1.Image) func(r *http.Request) bool {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return func(r *http.Request) bool {
		for _, l := range manifest.Layers {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, l.Digest.String()) {
				return true
			}
		}
		return false
	}
}

func TestFaultyRegistry(t *testing.T) {
	damage := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&damager{ResponseWriter: w}, r)
	}
	cut := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutter{ResponseWriter: w, left: 1000}, r)
		panic(http.ErrAbortHandler)
	}
	status := func(code int) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(code) }
	}
	for _, tt := range []struct {
		name   string
		faults int64 // how many requests for a layer are answered so
		fault  func(w http.ResponseWriter, r *http.Request, next http.Handler)
		want   string // "" if it succeeds
		asked  int    // requests for layers
	}{
		{"cut off once", 1, cut, "", 2},
		{"cut off always", 99, cut, "unexpected EOF", attempts},
		{"damaged once", 1, damage, "", 2},
		{"damaged always", 99, damage, "error verifying sha256 checksum", attempts},
		{"overloaded twice", 2, status(http.StatusServiceUnavailable), "", 3},
		{"too many requests", 99, status(http.StatusTooManyRequests), "limits how much may be pulled", attempts},
		{"unauthorized", 99, status(http.StatusUnauthorized), "log in with `docker login", 1},
		{"forbidden", 99, status(http.StatusForbidden), "log in with `docker login", 1},
		{"gone", 99, status(http.StatusNotFound), "has no such image, or shows it to nobody who is not logged in", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := startRegistry(t)
			img := testImage(t, "arm64", 1)
			tr.push(t, refA, img)
			o := testOptions(t, tr, "a "+refA)
			layer, asked := isLayer(t, img), atomic.Int64{}
			tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if layer(r) && asked.Add(1) <= tt.faults {
					tt.fault(w, r, next)
					return
				}
				next.ServeHTTP(w, r)
			})
			_, err := Download(t.Context(), o)
			if int(asked.Load()) != tt.asked {
				t.Errorf("%d requests for the layer, want %d", asked.Load(), tt.asked)
			}
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "pulling a ("+refA+", "+o.ListFile+":1") {
				t.Errorf("got %v\nwant %q in it", err, tt.want)
			}
			if got := files(t, o.Dir); len(got) > 0 {
				t.Errorf("left %v", got)
			}
			wantCacheClean(t, o)
		})
	}
}

// wantCacheClean checks that the cache holds nothing unfinished.
func wantCacheClean(t *testing.T, o Options) {
	t.Helper()
	b := blobs{filepath.Join(o.CacheDir, "blobs")}
	for _, name := range files(t, filepath.Join(b.dir, "sha256")) {
		if ok, err := b.have(v1.Hash{Algorithm: "sha256", Hex: name}); err != nil || !ok {
			t.Errorf("the cache holds a broken or unfinished %s (%v)", name, err)
		}
	}
}

type damager struct{ http.ResponseWriter }

func (d *damager) Write(p []byte) (int, error) {
	p = append([]byte(nil), p...)
	p[len(p)/2] ^= 1
	return d.ResponseWriter.Write(p)
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	n := min(c.left, len(p))
	c.left -= n
	if _, err := c.ResponseWriter.Write(p[:n]); err != nil {
		return 0, err
	}
	if n < len(p) {
		c.ResponseWriter.(http.Flusher).Flush()
		return n, io.ErrShortWrite
	}
	return n, nil
}

func TestManifestThatIsNotTheLockedOne(t *testing.T) {
	tr := startRegistry(t)
	img := testImage(t, "arm64", 1)
	tr.push(t, refA, img)
	o := testOptions(t, tr, "a "+refA)
	lockAfterDownload(t, o)
	o.CacheDir, o.Dir = t.TempDir(), t.TempDir()
	tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			next.ServeHTTP(&damager{ResponseWriter: w}, r)
			return
		}
		next.ServeHTTP(w, r)
	})
	if _, err := Download(t.Context(), o); err == nil || !strings.Contains(err.Error(), "does not match requested digest") {
		t.Errorf("got %v, want a refusal", err)
	}
	if got := files(t, o.Dir); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

func TestCancelMidwayAndGoOn(t *testing.T) {
	tr := startRegistry(t)
	a, b := testImage(t, "arm64", 3), testImage(t, "arm64", 2)
	tr.push(t, refA, a)
	tr.push(t, refB, b)
	o := testOptions(t, tr, "a "+refA, "b "+refB)
	layerOfB := isLayer(t, b)
	ctx, cancel := context.WithCancel(t.Context())
	// Both layers hang before anything is cancelled: a request still on its way
	// would be counted among those of the second download.
	hung := make(chan struct{})
	var layers atomic.Int32
	tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !layerOfB(r) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Length", "100000")
		w.Write(make([]byte, 1000))
		w.(http.Flusher).Flush()
		if layers.Add(1) == 2 {
			close(hung)
		}
		<-r.Context().Done()
	})
	go func() {
		<-hung
		cancel()
	}()
	started := time.Now()
	if _, err := Download(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if took := time.Since(started); took >= stallAfter {
		t.Errorf("the cancelled download took %s: it waited for its transfers to stall", took)
	}
	if diff := cmp.Diff([]string{"a.tar"}, files(t, o.Dir)); diff != "" {
		t.Errorf("files after a cancel in the second image (-want +got):\n%s", diff)
	}
	wantCacheClean(t, o)

	tr.answer(nil)
	tr.resetCounts()
	got, err := Download(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Images[0].Kept || tr.count("GET blobs") != 2 {
		t.Errorf("went on with %d blobs, first archive kept: %v; want only the two layers that were missing", tr.count("GET blobs"), got.Images[0].Kept)
	}
}

func TestAStalledTransferIsGivenUp(t *testing.T) {
	tr := startRegistry(t)
	img := testImage(t, "arm64", 1)
	tr.push(t, refA, img)
	layer, first := isLayer(t, img), atomic.Bool{}
	tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if layer(r) && first.CompareAndSwap(false, true) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		next.ServeHTTP(w, r)
	})
	var src *source
	src = newSource(time.Millisecond, func(string, ...any) {
		if first.Load() {
			src.stall = stallAfter // from now on nothing hangs, however slow it is
		}
	})
	defer src.close()
	src.stall = 200 * time.Millisecond
	tag, err := MirrorPath(tr.addr, refA)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	b := blobs{t.TempDir()}
	err = src.blob(t.Context(), tag.Repository, h, func(write func(io.Writer) error) error { return b.add(t.Context(), h, write) })
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := b.have(h); !ok || err != nil {
		t.Errorf("the blob is not there (%v)", err)
	}
}

func TestBlobsOfManyBuildsAtOnce(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("content ", 10_000)
	h, _, err := v1.SHA256(strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var writes atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			b := blobs{dir} // as another process has it
			if err := b.sweep(); err != nil {
				t.Error(err)
			}
			err := b.add(t.Context(), h, func(w io.Writer) error {
				writes.Add(1)
				for i := 0; i < len(content); i += 1000 {
					if _, err := io.WriteString(w, content[i:i+1000]); err != nil {
						return err
					}
					time.Sleep(time.Millisecond)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if ok, err := b.have(h); !ok || err != nil {
				t.Errorf("not there after add (%v)", err)
			}
		})
	}
	wg.Wait()
	if writes.Load() != 1 {
		t.Errorf("%d of them wrote it, want one", writes.Load())
	}
	if diff := cmp.Diff([]string{h.Hex}, files(t, filepath.Join(dir, "sha256"))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestSweepTakesOnlyWhatNobodyWrites(t *testing.T) {
	b := blobs{t.TempDir()}
	held, err := lock.Open(t.Context(), b.partial(v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	left := held.Name()[:len(held.Name())-9] + "b.partial"
	writeTestFile(t, left, "from a killed build")
	if err := b.sweep(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a killed build left is still there (%v)", err)
	}
	if _, err := os.Stat(held.Name()); err != nil {
		t.Errorf("what another build writes was taken: %v", err)
	}
}
