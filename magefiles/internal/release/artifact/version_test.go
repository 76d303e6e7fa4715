package artifact

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestVersionsThatAreDescribed(t *testing.T) {
	for described, want := range map[string]string{
		"v1.2.3-0-gabc1234":                    "1.2.3",
		"v1.2.3-0-gabc1234-dirty":              "1.2.4-dev.0+gabc1234.dirty",
		"v1.2.3-7-gabc1234":                    "1.2.4-dev.7+gabc1234",
		"v1.2.3-rc.1-0-gabc1234":               "1.2.3-rc.1",
		"v1.2.3-rc.1-7-gabc1234":               "1.2.3-rc.1.dev.7+gabc1234",
		"v1.2.3-beta-2-0-gabc1234":             "1.2.3-beta-2",
		"v1.2.3+pi5-0-gabc1234":                "1.2.3+pi5",
		"v1.2.3+pi5-7-gabc1234":                "1.2.4-dev.7+gabc1234",
		"v1.2.3-rc.1+pi5-7-gabc1234":           "1.2.3-rc.1.dev.7+gabc1234",
		"v1.2.99999999999999999999-7-gabc1234": "1.2.100000000000000000000-dev.7+gabc1234",
		"0123456789ab":                         "0.0.0-dev+g0123456789ab",
		"0123456789ab-dirty":                   "0.0.0-dev+g0123456789ab.dirty",
	} {
		d, err := parseDescribed(described)
		if got := d.version(); got != want || err != nil || CheckVersion(got) != nil {
			t.Errorf("%s: got %s, %v, want %s", described, got, err, want)
		}
	}
	for _, bad := range []string{"", "nonsense", "v1.2.3", "v1.2.3-g"} {
		if d, err := parseDescribed(bad); err == nil {
			t.Errorf("%q became %+v", bad, d)
		}
	}
}

// repository is one that a test makes, apart from the one it runs in.
type repository struct {
	*testing.T
	dir string
}

func newRepository(t *testing.T, dir string) repository {
	t.Helper()
	for _, kv := range os.Environ() { // a hook and rebase --exec set them
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "GIT_") {
			t.Setenv(name, "") // puts it back in the end
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := repository{t, dir}
	r.git("init", "-q")
	return r
}

func (r repository) git(args ...string) {
	r.Helper()
	cmd := exec.Command("git", append([]string{"-C", r.dir, "-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.Fatalf("git %s: %v\n%s", args, err, out)
	}
}

func (r repository) commit() { r.git("commit", "-q", "--allow-empty", "-m", "x") }

func (r repository) wantVersion(want string) {
	r.Helper()
	got, err := VersionFromGit(r.Context(), r.dir)
	if err != nil || !regexp.MustCompile("^("+want+")$").MatchString(got) {
		r.Errorf("got %q, %v, want %s", got, err, want)
	}
}

func TestVersionFromGit(t *testing.T) {
	r := newRepository(t, t.TempDir())
	r.commit()
	r.wantVersion(`0\.0\.0-dev\+g[0-9a-f]{12}`)
	r.git("tag", "v2.0.0")
	r.wantVersion(`2\.0\.0`)
	if err := os.WriteFile(filepath.Join(r.dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.git("add", "f")
	r.wantVersion(`2\.0\.1-dev\.0\+g[0-9a-f]{12}\.dirty`)
	r.commit()
	r.wantVersion(`2\.0\.1-dev\.1\+g[0-9a-f]{12}`)
}

func TestVersionOfACommitWithSeveralTags(t *testing.T) {
	for name, tt := range map[string]struct {
		tags  string // with an a behind those that are annotated
		want  string
		later string // a commit after it
	}{
		"a release after its candidate":  {"v1.2.3-rc.1/a v1.2.3", `1\.2\.3`, `1\.2\.4-dev\.1\+g.*`},
		"tags that move":                 {"v1 v1.2 v1.2.3", `1\.2\.3`, `1\.2\.4-dev\.1\+g.*`},
		"annotated tags that move":       {"v1/a v1.2/a v1.2.3", `1\.2\.3`, `1\.2\.4-dev\.1\+g.*`},
		"nothing but tags that move":     {"v1 v1.2", `0\.0\.0-dev\+g.*`, `0\.0\.0-dev\+g.*`},
		"what is behind a plus":          {"v1.2.3+pi5", `1\.2\.3\+pi5`, `1\.2\.4-dev\.1\+g.*`},
		"with and without a plus":        {"v1.2.3+pi5/a v1.2.3", `1\.2\.3`, `1\.2\.4-dev\.1\+g.*`},
		"numbers, not letters":           {"v1.9.0/a v1.10.0", `1\.10\.0`, `1\.10\.1-dev\.1\+g.*`},
		"candidates by number":           {"v1.0.0-rc.9/a v1.0.0-rc.10", `1\.0\.0-rc\.10`, `1\.0\.0-rc\.10\.dev\.1\+g.*`},
		"words that begin with a v":      {"vendor v1.2.3_x/a v01.2.3/a v1.2.3", `1\.2\.3`, `1\.2\.4-dev\.1\+g.*`},
		"other tags of the same program": {"latest/a nightly v0.1.0", `0\.1\.0`, `0\.1\.1-dev\.1\+g.*`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t, t.TempDir())
			r.commit()
			for tag := range strings.FieldsSeq(tt.tags) {
				if annotated, ok := strings.CutSuffix(tag, "/a"); ok {
					r.git("tag", "-a", "-m", "x", annotated)
				} else {
					r.git("tag", tag)
				}
			}
			r.wantVersion(tt.want)
			r.commit()
			r.wantVersion(tt.later)
		})
	}
}

// What git is told of by its own environment, and what is around a source
// archive, is another repository.
func TestVersionOfNoOtherRepository(t *testing.T) {
	other := newRepository(t, t.TempDir())
	other.commit()
	other.git("tag", "v9.9.9")
	ours := newRepository(t, filepath.Join(t.TempDir()))
	ours.commit()
	ours.git("tag", "v1.0.0")
	t.Run("GIT_DIR", func(t *testing.T) {
		t.Setenv("GIT_DIR", filepath.Join(other.dir, ".git"))
		t.Setenv("GIT_WORK_TREE", other.dir)
		t.Setenv("GIT_INDEX_FILE", filepath.Join(other.dir, ".git", "index"))
		ours.wantVersion(`1\.0\.0`)
	})
	archive := filepath.Join(other.dir, "releases-1.0.0")
	if err := os.Mkdir(archive, 0o755); err != nil {
		t.Fatal(err)
	}
	empty := newRepository(t, t.TempDir())
	for name, tt := range map[string]struct{ dir, path, want string }{
		"an archive inside a repository": {archive, os.Getenv("PATH"), "it is no git checkout of its own"},
		"no repository":                  {t.TempDir(), os.Getenv("PATH"), "it is no git checkout of its own"},
		"no commit":                      {empty.dir, os.Getenv("PATH"), "it has no commit yet"},
		"no git":                         {ours.dir, t.TempDir(), "executable file not found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", tt.path)
			got, err := VersionFromGit(t.Context(), tt.dir)
			for _, want := range []string{tt.dir, tt.want, "`-version=1.2.3` sets it by hand"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, %v, want %q in it", got, err, want)
				}
			}
		})
	}
}
