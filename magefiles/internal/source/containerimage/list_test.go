package containerimage

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func TestReadList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.txt")
	writeTestFile(t, path, "# comment\n\n  a\t"+refA+"  # why\nb-2 "+refB+"\n")
	got, err := ReadList(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{Name: "a", Reference: refA}, {Name: "b-2", Reference: refB}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Entry{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadListReportsAllProblemsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.txt")
	for _, tt := range []struct {
		name, content string
		want          []string // each in a line of its own that starts with path:LINE
	}{
		{"many", strings.Join([]string{
			"pihole",
			"Bad_Name docker.io/x/y:1",
			"a docker.io/x/a:latest",
			"b docker.io/x/b",
			"c x/c:1",
			"d docker.io/x/d@" + digestA,
			"a docker.io/x/e:1",
			"f docker.io/x/e:1",
			"g 192.168.1.5:5000/x/g:1",
			"h docker.io/x/h:1 and more",
			"-i docker.io/x/I:1",
		}, "\n"), []string{
			"1: want `NAME REFERENCE`",
			`2: name "Bad_Name"`,
			"3: docker.io/x/a:latest: the tag latest",
			"4: \"docker.io/x/b\" is no full image reference",
			"5: \"x/c:1\" is no full image reference",
			"6: docker.io/x/d@" + digestA + ": digests are kept in images.lock",
			"7: name a is given twice",
			"8: docker.io/x/e:1 is listed twice, as a and f",
			"9: registry 192.168.1.5:5000 would be spoken to without encryption",
			"10: want `NAME REFERENCE`",
			`11: name "-i"`,
			"11: \"docker.io/x/I:1\" is no full",
		}},
		{"what other programs take", strings.Join([]string{
			"a https://ghcr.io/x/a:1",
			"b docker://ghcr.io/x/b:1",
			"c ghcr.io/x//c:1",
			"d http:/ghcr.io/x/d:1",
			"e ghcr.io/x/e/:1",
			"f /ghcr.io/x/f:1",
			"g ghcr.io/./x/g:1",
			"h ghcr.io/x/../h:1",
			"i docker:ghcr.io/x/i:1",
			"j ghcr.io:port/x/j:1",
			"k oci:/images/k:1",
			"l ghcr.io/x/-l:1",
			"m ghcr_io.example/x/m:1",
		}, "\n"), []string{
			`1: "https://ghcr.io/x/a:1" is no full image reference (REGISTRY/PATH:TAG): it has more than a host, the words of a path and a tag. Write ghcr.io/x/a:1`,
			`2: "docker://ghcr.io/x/b:1" is no full image reference (REGISTRY/PATH:TAG): it has more than a host, the words of a path and a tag. Write ghcr.io/x/b:1`,
			`3: "ghcr.io/x//c:1" is no full image reference (REGISTRY/PATH:TAG): it has more than a host, the words of a path and a tag. Write ghcr.io/x/c:1`,
			`4: "http:/ghcr.io/x/d:1" is no full`,
			`5: "ghcr.io/x/e/:1" is no full`,
			`6: "/ghcr.io/x/f:1" is no full`,
			`7: "ghcr.io/./x/g:1" is no full`,
			`8: "ghcr.io/x/../h:1" is no full`,
			`9: "docker:ghcr.io/x/i:1" is no full`,
			`10: "ghcr.io:port/x/j:1" is no full`,
			`11: "oci:/images/k:1" is no full`,
			`12: "ghcr.io/x/-l:1" is no full`,
			`13: "ghcr_io.example/x/m:1" is no full`,
		}},
		{"one image under two spellings", "a docker.io/x/y:1\nb index.docker.io/x/y:1\n", []string{"2: index.docker.io/x/y:1 is listed twice"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writeTestFile(t, path, tt.content)
			_, err := ReadList(path)
			if err == nil {
				t.Fatal("no error")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Errorf("%d problems, want %d:\n%v", len(lines), len(tt.want), err)
			}
			for i, want := range tt.want {
				if i < len(lines) && !strings.HasPrefix(lines[i], path+":"+want) {
					t.Errorf("got  %s\nwant %s:%s…", lines[i], path, want)
				}
			}
		})
	}
	for name, content := range map[string]string{"no image": "# nothing\n"} {
		writeTestFile(t, path, content)
		if _, err := ReadList(path); err == nil || !strings.Contains(err.Error(), "names no image") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := ReadList(path + ".missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing list: got %v", err)
	}
}

func TestLockRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.lock")
	if got, err := ReadLock(path); err != nil || got != nil {
		t.Errorf("a missing lock: %v, %v; want an empty one", got, err)
	}
	want := []Locked{
		{Entry: Entry{Name: "b", Reference: refB}, Digest: digestB},
		{Entry: Entry{Name: "a", Reference: refA}, Digest: digestA},
	}
	if err := WriteLock(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Entry{}, Locked{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadLockReportsAllProblemsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.lock")
	writeTestFile(t, path, strings.Join([]string{
		"a " + refA,
		"b " + refB + "@sha256:short",
		"c docker.io/x/c:latest@" + digestA,
		"d docker.io/x/d:1@" + digestA,
		"d docker.io/x/d:1@" + digestA,
	}, "\n"))
	_, err := ReadLock(path)
	for _, want := range []string{":1: " + refA + " has no digest", `:2: "sha256:short" is no sha256`, ":3: docker.io/x/c:latest: the tag latest", ":5: name d is given twice"} {
		if err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("got %v\nwant %s%s in it", err, path, want)
		}
	}
}

func TestCheckNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "images.txt")
	writeTestFile(t, path, "# the images\n\na "+refA+"\nb docker.io/example/b:latest\nc "+refB+"\n")
	err := CheckNames(path, []string{"a", "d", "b", "e"}, "services.json")
	want := []string{
		path + ":4: docker.io/example/b:latest: the tag latest is another image every day, give a version",
		path + ":5: c is no service: services.json does not list it",
		path + ": it has no line `d REFERENCE`, but services.json lists that service",
		path + ": it has no line `e REFERENCE`, but services.json lists that service",
	}
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	writeTestFile(t, path, "a "+refA+"\n")
	if err := CheckNames(path, []string{"a"}, "services.json"); err != nil {
		t.Error(err)
	}
}

// The files of this repository are what a release is made of.
func TestOwnFiles(t *testing.T) {
	const root = "../../../.."
	all, err := services.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "skopeo")
	o := Options{ListFile: filepath.Join(dir, "images.txt"), LockFile: filepath.Join(dir, "images.lock"), Dir: "unused", CacheDir: "unused"}
	if err := CheckNames(o.ListFile, all.Names(), services.File); err != nil {
		t.Error(err)
	}
	if _, err := InputsDigest(o); err != nil {
		t.Error(err)
	}
}
