package containerimage

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestDownloadSavesWhatDockerLoads(t *testing.T) {
	tr := startRegistry(t)
	a, b := testImage(t, "arm64", 3), testImage(t, "arm64", 1)
	tr.push(t, refA, testIndex(map[string]v1.Image{"amd64": testImage(t, "amd64", 1), "arm64": a, "unknown": testImage(t, "amd64", 1)}))
	tr.push(t, refB, b)
	o := testOptions(t, tr, "a "+refA, "with-dash "+refB)
	writeTestFile(t, filepath.Join(mkdir(t, o.Dir), "gone.tar"), "an archive of a service that is no longer listed")

	got, err := Download(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	wantSums := ""
	for i, want := range []struct {
		reference string
		img       v1.Image
	}{{refA, a}, {refB, b}} {
		tag := mustTag(t, want.reference)
		loaded, err := tarball.ImageFromPath(got.Images[i].Archive, &tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(loaded); err != nil {
			t.Errorf("%s: %v", want.reference, err)
		}
		if diff := cmp.Diff(configName(t, want.img), configName(t, loaded)); diff != "" {
			t.Errorf("%s is another image (-want +got):\n%s", want.reference, diff)
		}
		if got.Lock[i].Digest != digestOf(t, want.img) {
			t.Errorf("locked to %s, want %s", got.Lock[i].Digest, digestOf(t, want.img))
		}
		data, err := os.ReadFile(got.Images[i].Archive)
		if err != nil {
			t.Fatal(err)
		}
		wantSums += fmt.Sprintf("%x  %s\n", sha256.Sum256(data), filepath.Base(got.Images[i].Archive))
	}
	if diff := cmp.Diff([]string{SumsFile, "a.tar", EnvFile, "with-dash.tar"}, files(t, o.Dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantSums, readFile(t, o.Dir, SumsFile)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", SumsFile, diff)
	}
	if diff := cmp.Diff("A_IMAGE="+refA+"\nWITH_DASH_IMAGE="+refB+"\n", readFile(t, o.Dir, EnvFile)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", EnvFile, diff)
	}
}

func TestDownloadKeepsWhatIsWhole(t *testing.T) {
	tr := startRegistry(t)
	tr.push(t, refA, testImage(t, "arm64", 2))
	o := testOptions(t, tr, "a "+refA)
	first := lockAfterDownload(t, o)
	archive := filepath.Join(o.Dir, "a.tar")
	before := readFile(t, o.Dir, "a.tar")

	t.Run("nothing is asked of the registry", func(t *testing.T) {
		tr.resetCounts()
		again, err := Download(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !again.Images[0].Kept || again.LockChanged || tr.count("GET blobs")+tr.count("GET manifests") > 0 {
			t.Errorf("kept %v, lock changed %v, requests %v; want the archive kept without a request", again.Images[0].Kept, again.LockChanged, tr.requests)
		}
	})
	t.Run("a damaged archive is made again, from the cache, with the same bytes", func(t *testing.T) {
		f, err := os.OpenFile(archive, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("damage"), 2000); err != nil {
			t.Fatal(err)
		}
		f.Close()
		tr.resetCounts()
		again, err := Download(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if again.Images[0].Kept || again.Images[0].SHA256 != first.Images[0].SHA256 || readFile(t, o.Dir, "a.tar") != before {
			t.Error("the archive was not made again as it was")
		}
		if n := tr.count("GET blobs") + tr.count("GET manifests"); n != 0 {
			t.Errorf("%d requests, want none: everything is in the cache", n)
		}
	})
	t.Run("another cache gives the same bytes", func(t *testing.T) {
		other := o
		other.CacheDir, other.Dir = t.TempDir(), t.TempDir()
		if _, err := Download(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if readFile(t, other.Dir, "a.tar") != before {
			t.Error("the archive of the same digest differs")
		}
	})
	t.Run("a damaged blob is fetched again", func(t *testing.T) {
		blobs, err := filepath.Glob(filepath.Join(o.CacheDir, "blobs", "sha256", "*"))
		if err != nil || len(blobs) != 4 {
			t.Fatalf("cache holds %v (%v), want manifest, configuration and two layers", blobs, err)
		}
		for _, b := range blobs {
			if err := os.Truncate(b, 10); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Remove(archive); err != nil {
			t.Fatal(err)
		}
		if _, err := Download(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if readFile(t, o.Dir, "a.tar") != before {
			t.Error("the archive differs")
		}
	})
}

func TestDownloadSweepsItsDirectory(t *testing.T) {
	tr := startRegistry(t)
	tr.push(t, refA, testImage(t, "arm64", 1))
	o := testOptions(t, tr, "a "+refA)
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old.tar", ".a.tar123", "." + SumsFile + "456", "notes.txt", ".keep"} {
		writeTestFile(t, filepath.Join(o.Dir, name), "x")
	}
	if _, err := Download(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".keep", SumsFile, "a.tar", EnvFile, "notes.txt"}, files(t, o.Dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// lockAfterDownload runs a first download and writes the lock it returns.
func lockAfterDownload(t *testing.T, o Options) Result {
	t.Helper()
	got, err := Download(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !got.LockChanged {
		t.Error("the first download has no new lock")
	}
	if err := WriteLock(o.LockFile, got.Lock); err != nil {
		t.Fatal(err)
	}
	return got
}

func configName(t *testing.T, img v1.Image) string {
	t.Helper()
	h, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func readFile(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
