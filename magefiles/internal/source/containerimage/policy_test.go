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
	locked := func(name, reference, digest string) Locked {
		return Locked{Entry: Entry{Name: name, Reference: reference}, Digest: digest, line: 7}
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
		{"update", []Locked{locked("a", refA, digestA)}, Options{Update: true}, []string{"", ""}, nil},
		{"another tag, and one that is not listed", []Locked{locked("a", "docker.io/example/a:0.9", digestA), locked("c", refA, digestA)}, Options{}, nil,
			[]string{"images.lock:7: a is locked as docker.io/example/a:0.9, but images.txt asks for " + refA, "download -update", "images.lock:7: c is locked, but images.txt does not list it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := tt.options
			o.ListFile, o.LockFile = "images.txt", "images.lock"
			got, err := pins(entries, tt.locked, o)
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
		"pulling a (" + refA + ", from mirror " + tr.addr + "): it is not made for linux/arm64, only for linux/amd64",
		"pulling b (" + refB + ", from mirror " + tr.addr + "): it is not made for linux/arm64, only for linux/amd64",
		"pulling c (docker.io/example/none:1", "has no such image: correct the reference",
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
		t.Errorf("got %v, want the mend", err)
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
