package artifact

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamesFor(t *testing.T) {
	want := Names{
		Base: "cubeos-lab-1.2.3-rc.1-arm64", Image: "cubeos-lab-1.2.3-rc.1-arm64.img", XZ: "cubeos-lab-1.2.3-rc.1-arm64.img.xz",
		Checksum: "cubeos-lab-1.2.3-rc.1-arm64.img.xz.sha256", BlockMap: "cubeos-lab-1.2.3-rc.1-arm64.img.bmap", Manifest: "cubeos-lab-1.2.3-rc.1-arm64.manifest.json",
	}
	got := NamesFor("cubeos-lab", "1.2.3-rc.1")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if like, err := namesLike(got.Image, "1.2.3-rc.1"); err != nil || like != got {
		t.Errorf("the names that go with %s are %+v, %v", got.Image, like, err)
	}
	if got := NamesFor("cubeos", "1.2.3").In("/b").XZ; got != "/b/cubeos-1.2.3-arm64.img.xz" {
		t.Error(got)
	}
	for _, raw := range []string{
		"", "cubeos-1.2.3-arm64", "cubeos-1.2.4-arm64.img", "-1.2.3-arm64.img", "../x-1.2.3-arm64.img", "a/x-1.2.3-arm64.img", "cubeos-1.2.3-arm64.img.xz",
	} {
		if got, err := namesLike(raw, "1.2.3"); err == nil {
			t.Errorf("%q passed: %+v", raw, got)
		}
	}
}

func TestVersionFromDescribe(t *testing.T) {
	for described, want := range map[string]string{
		"v1.2.3-0-gabc1234":        "1.2.3",
		"v1.2.3-0-gabc1234-dirty":  "1.2.4-dev.0+gabc1234.dirty",
		"v1.2.3-7-gabc1234":        "1.2.4-dev.7+gabc1234",
		"v1.2.3-rc.1-0-gabc1234":   "1.2.3-rc.1",
		"v1.2.3-rc.1-7-gabc1234":   "1.2.3-rc.1.dev.7+gabc1234",
		"v1.2.3-beta-2-0-gabc1234": "1.2.3-beta-2",
		"0123456789ab":             "0.0.0-dev+g0123456789ab",
		"0123456789ab-dirty":       "0.0.0-dev+g0123456789ab.dirty",
	} {
		if got, err := versionFromDescribe(described); got != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", described, got, err, want)
		}
	}
	for _, bad := range []string{"", "v1-0-gabc1234", "v1.2.3_x-0-gabc1234", "v01.2.3-0-gabc1234", "nonsense"} {
		if got, err := versionFromDescribe(bad); err == nil {
			t.Errorf("%q became %s", bad, got)
		}
	}
}

func TestVersionFromGit(t *testing.T) {
	apart(t)
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	version := func(want string) {
		t.Helper()
		got, err := VersionFromGit(t.Context(), dir)
		if err != nil || !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("got %q, %v, want %s", got, err, want)
		}
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "1")
	version(`^0\.0\.0-dev\+g[0-9a-f]{12}$`)
	git("tag", "v2.0.0")
	version(`^2\.0\.0$`)
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	git("add", "f")
	version(`^2\.0\.1-dev\.0\+g[0-9a-f]{12}\.dirty$`)
	git("commit", "-q", "-m", "2")
	version(`^2\.0\.1-dev\.1\+g[0-9a-f]{12}$`)
	if got, err := VersionFromGit(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "-version=") {
		t.Errorf("outside of a repository: %q, %v", got, err)
	}
}

// apart keeps git from working on another repository than the one in the
// directory it is started in, as it is told to in a hook or by rebase --exec.
func apart(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") {
			t.Setenv(name, "") // puts it back in the end
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestVersionOf(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.org/v1.2.3/cubeos-1.2.3-arm64.img.xz": "1.2.3",
		"https://example.org/cubeos-1.2.3-rc.1-arm64.img.xz":   "1.2.3-rc.1",
		"https://example.org/cubeos-lab-1.2.3-arm64.img.xz":    "",
		"https://example.org/1.2.3-arm64.img.xz":               "",
		"https://example.org/cubeos-1.2.3-arm64.img":           "",
		"https://example.org/cubeos-1.2-arm64.img.xz":          "",
		"": "",
	} {
		got, ok := VersionOf(address, "cubeos")
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %q, %v", address, got, ok)
		}
	}
}
