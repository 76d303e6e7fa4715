package containerimage

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestLockedDigestIsPulledWhateverTheTagIs(t *testing.T) {
	tr := startRegistry(t)
	locked, newer := testImage(t, "arm64", 1), testImage(t, "arm64", 1)
	tr.push(t, refA, testIndex(map[string]v1.Image{"arm64": locked}))
	o := testOptions(t, tr, "a "+refA)
	lockAfterDownload(t, o)
	tr.push(t, refA, testIndex(map[string]v1.Image{"arm64": newer}))
	o.Dir = t.TempDir()

	got, err := Download(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got.Lock[0].Digest != digestOf(t, locked) || got.LockChanged {
		t.Errorf("pulled %s (lock changed: %v), want the locked %s", got.Lock[0].Digest, got.LockChanged, digestOf(t, locked))
	}
	o.Update = true
	if got, err = Download(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got.Lock[0].Digest != digestOf(t, newer) || !got.LockChanged || got.Images[0].Kept {
		t.Errorf("update gave %+v, want %s", got, digestOf(t, newer))
	}
}

func TestPins(t *testing.T) {
	entries := []Entry{{Name: "a", Reference: refA}, {Name: "b", Reference: refB}}
	others := []Entry{{Name: "other", Reference: "docker.io/example/other:1"}}
	locked := func(name, reference, digest string) Locked {
		return Locked{Entry: Entry{Name: name, Reference: reference, line: 7}, Digest: digest}
	}
	for _, tt := range []struct {
		name    string
		locked  []Locked
		options Options
		want    []string
		errs    []string
	}{
		{"all locked", []Locked{locked("b", refB, digestB), locked("a", refA, digestA)}, Options{Locked: true}, []string{digestA, digestB}, nil},
		{"one missing", []Locked{locked("b", refB, digestB)}, Options{}, []string{"", digestB}, nil},
		{"one missing, and all have to be there", []Locked{locked("b", refB, digestB)}, Options{Locked: true}, nil, []string{"a (" + refA + ") has no digest"}},
		{"what another profile has locked", []Locked{locked("other", refA, digestA), locked("b", refB, digestB)}, Options{}, []string{"", digestB}, nil},
		{"update", []Locked{locked("a", refA, digestA)}, Options{Update: true}, []string{"", ""}, nil},
		{"another tag, and one that is not listed", []Locked{locked("a", "docker.io/example/a:0.9", digestA), locked("c", refA, digestA)}, Options{}, nil,
			[]string{"images.lock:7: a is locked as docker.io/example/a:0.9, but images.txt asks for " + refA, "download -update", "images.lock:7: c is locked, but images.txt does not list it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.options
			o.ListFile, o.LockFile = "images.txt", "images.lock"
			got, err := request{entries: entries, listed: append(entries, others...), locked: tt.locked}.pins(o)
			if diff := cmp.Diff(tt.want, got); diff != "" && tt.errs == nil {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (err != nil) != (tt.errs != nil) {
				t.Errorf("error %v", err)
			}
			for _, want := range tt.errs {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %q in it", err, want)
				}
			}
		})
	}
}

// Two profiles share images.txt and images.lock, and one of them lacks a service.
func TestProfilesShareTheLock(t *testing.T) {
	tr := startRegistry(t)
	for _, reference := range []string{refA, refB} {
		tr.push(t, reference, testImage(t, "arm64", 1))
	}
	full := testOptions(t, tr, "a "+refA, "b "+refB)
	first := lockAfterDownload(t, full)

	t.Run("the one that has fewer saves its own only, and leaves the lock as it is", func(t *testing.T) {
		fewer := full
		fewer.Services = []string{"b"} // in the directory that has both, as after a change of the var-file
		got, err := Download(t.Context(), fewer)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Images) != 1 || got.Images[0].Name != "b" || got.LockChanged {
			t.Errorf("saved %+v, lock changed: %v; want b alone and the same lock", got.Images, got.LockChanged)
		}
		if diff := cmp.Diff([]string{SumsFile, "b.tar", EnvFile}, files(t, full.Dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		if sums, env := readFile(t, full.Dir, SumsFile), readFile(t, full.Dir, EnvFile); strings.Contains(sums, "a.tar") || env != "B_IMAGE="+refB+"\n" {
			t.Errorf("%s\n%s\nwant b alone in both", sums, env)
		}
	})
	t.Run("its update keeps the line that is not its own", func(t *testing.T) {
		newer := testImage(t, "arm64", 1)
		for _, reference := range []string{refA, refB} {
			tr.push(t, reference, newer)
		}
		fewer := full
		fewer.Services, fewer.Update, fewer.Dir = []string{"b"}, true, t.TempDir()
		got, err := Download(t.Context(), fewer)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{first.Lock[0].String(), "b " + refB + "@" + digestOf(t, newer)}
		var lock []string
		for _, l := range got.Lock {
			lock = append(lock, l.String())
		}
		if diff := cmp.Diff(want, lock); diff != "" || !got.LockChanged {
			t.Errorf("lock, changed: %v (-want +got):\n%s", got.LockChanged, diff)
		}
	})
	t.Run("its update does without a line that nobody has yet", func(t *testing.T) {
		fewer := full
		fewer.Services, fewer.Update, fewer.Dir, fewer.LockFile = []string{"b"}, true, t.TempDir(), filepath.Join(t.TempDir(), "images.lock")
		if got, err := Download(t.Context(), fewer); err != nil || len(got.Lock) != 1 || got.Lock[0].Name != "b" {
			t.Errorf("got %+v, %v", got.Lock, err)
		}
	})
	t.Run("a lock that can not be read can only be replaced as a whole", func(t *testing.T) {
		update := full
		update.Update, update.Dir, update.LockFile = true, t.TempDir(), filepath.Join(t.TempDir(), "images.lock")
		writeTestFile(t, update.LockFile, "<<<<<<< HEAD\n")
		if got, err := Download(t.Context(), update); err != nil || !got.LockChanged {
			t.Errorf("all services: %v", err)
		}
		update.Services = []string{"b"}
		if _, err := Download(t.Context(), update); err == nil || !strings.Contains(err.Error(), "images.lock:1:") {
			t.Errorf("some services: got %v, want its line", err)
		}
	})
	t.Run("a service without an image is named", func(t *testing.T) {
		more := full
		more.Services = []string{"b", "c", "d"}
		_, err := Download(t.Context(), more)
		for _, want := range []string{"images.txt has no image of the service c", "no image of the service d"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		}
	})
}

func TestOptionsAreCheckedBeforeAnythingIsDone(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want []string
	}{
		{Options{}, []string{"list of images is not set", "directory for archives is not set", "cache directory is not set"}},
		{Options{Locked: true, Update: true}, []string{"give one of the two", "need a lock file"}},
		{Options{Mirror: "10.0.0.1:5000"}, []string{"without encryption"}},
		{Options{Mirror: "http://mirror.example"}, []string{"has to be HOST or HOST:PORT"}},
		{Options{Mirror: "mirror.example/prefix"}, []string{"has to be HOST or HOST:PORT"}},
	} {
		_, err := Download(t.Context(), tt.o)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: got %v, want %q in it", tt.o, err, want)
			}
		}
	}
	for _, mirror := range []string{"", "mirror.example", "mirror.example:5000", "127.0.0.1:5000", "localhost:5000", "[::1]:5000"} {
		if err := checkMirror(mirror); err != nil {
			t.Errorf("mirror %q: %v", mirror, err)
		}
	}
}

func TestMirrorPath(t *testing.T) {
	for reference, want := range map[string]string{
		"docker.io/pihole/pihole:1":       "mirror.example/docker.io/pihole/pihole:1",
		"ghcr.io/cubeos-app/hal:2":        "mirror.example/ghcr.io/cubeos-app/hal:2",
		"registry.example:5000/x/y:3":     "mirror.example/registry.example-5000/x/y:3",
		"index.docker.io/pihole/pihole:1": "mirror.example/docker.io/pihole/pihole:1",
	} {
		if got, err := MirrorPath("mirror.example", reference); err != nil || got.String() != want {
			t.Errorf("%s: got %s, %v; want %s", reference, got, err, want)
		}
	}
}

func TestInputsDigest(t *testing.T) {
	tr := startRegistry(t)
	o := testOptions(t, tr, "a "+refA, "b "+refB)
	digest := func(change func(*Options)) string {
		t.Helper()
		c := o
		change(&c)
		d, err := InputsDigest(c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(func(*Options) {})
	writeTestFile(t, o.ListFile, "# a comment\na "+refA+"\nb "+refB+"\n")
	if digest(func(*Options) {}) != first {
		t.Error("a comment changed the digest")
	}
	seen := map[string]string{first: "nothing"}
	add := func(what, d string) {
		t.Helper()
		if before, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", what, before)
		}
		seen[d] = what
	}
	add("no mirror", digest(func(o *Options) { o.Mirror = "" }))
	id := digest(func(o *Options) { o.MirrorID = "lab" })
	add("a named mirror", id)
	if digest(func(o *Options) { o.MirrorID, o.Mirror = "lab", "127.0.0.1:1" }) != id {
		t.Error("the address of a named mirror changed the digest")
	}
	if err := WriteLock(o.LockFile, []Locked{{Entry: Entry{Name: "a", Reference: refA}, Digest: digestA}}); err != nil {
		t.Fatal(err)
	}
	add("a lock", digest(func(*Options) {}))
	add("fewer services", digest(func(o *Options) { o.Services = []string{"b"} }))
	writeTestFile(t, o.ListFile, "a docker.io/example/a:1.1\n")
	if _, err := InputsDigest(o); err == nil || !strings.Contains(err.Error(), "is locked as") {
		t.Errorf("got %v, want the conflict of list and lock", err)
	}
}

func TestWhatARegistryDoesNotHave(t *testing.T) {
	tr := startRegistry(t)
	amd64 := testImage(t, "amd64", 1)
	tr.push(t, refA, testIndex(map[string]v1.Image{"amd64": amd64, "unknown": testImage(t, "amd64", 1)}))
	tr.push(t, refB, amd64)
	o := testOptions(t, tr, "a "+refA, "b "+refB, "c docker.io/example/none:1")
	_, err := Download(t.Context(), o)
	for _, want := range []string{
		"pulling a (" + refA + ", " + o.ListFile + ":1, from mirror " + tr.addr + "): it is not made for linux/arm64, only for linux/amd64",
		"pulling b (" + refB + ", " + o.ListFile + ":2, from mirror " + tr.addr + "): it is not made for linux/arm64, only for linux/amd64",
		"pulling c (docker.io/example/none:1", "has no such image, or shows it to nobody who is not logged in",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %q in it", err, want)
		}
	}
	if got := files(t, o.Dir); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}

func TestALockedImageForAnotherArchitectureIsRefused(t *testing.T) {
	tr := startRegistry(t)
	amd64 := testImage(t, "amd64", 1)
	tr.push(t, refA, amd64)
	o := testOptions(t, tr, "a "+refA)
	if err := WriteLock(o.LockFile, []Locked{{Entry: Entry{Name: "a", Reference: refA}, Digest: digestOf(t, amd64)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Download(t.Context(), o); err == nil || !strings.Contains(err.Error(), "only for linux/amd64") {
		t.Errorf("got %v, want the architecture", err)
	}
}

func TestUnreachableRegistry(t *testing.T) {
	tr := startRegistry(t)
	o := testOptions(t, tr, "a "+refA)
	o.Mirror = "127.0.0.1:1"
	_, err := Download(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1 can not be reached: check the network") || !strings.Contains(err.Error(), refA) {
		t.Errorf("got %v, want the hint", err)
	}
}

func TestCancelledBeforeItStarts(t *testing.T) {
	tr := startRegistry(t)
	tr.push(t, refA, testImage(t, "arm64", 1))
	o := testOptions(t, tr, "a "+refA)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Download(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got, _ := filepath.Glob(o.Dir + "/*"); len(got) > 0 {
		t.Errorf("left %v", got)
	}
}
