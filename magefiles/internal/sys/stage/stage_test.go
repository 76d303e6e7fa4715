package stage

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

func TestDoRunsOnlyWhenSomethingChanged(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	runs := 0
	s := Stage{
		Name:    "make",
		Inputs:  map[string]string{"recipe": "1", "base": "x"},
		Outputs: []string{out},
		Run: func(context.Context) error {
			runs++
			return os.WriteFile(out, []byte("made"), 0o644)
		},
	}
	var log bytes.Buffer
	r := Runner{Dir: filepath.Join(dir, "stamps"), Log: progress.New(&log)}
	steps := []struct {
		name   string
		change func()
		ran    bool
		why    string
	}{
		{"the first time", func() {}, true, "not run before"},
		{"nothing changed", func() {}, false, "up to date"},
		{"touched", func() { os.Chtimes(out, time.Time{}, time.Now().Add(time.Hour)) }, false, "up to date"},
		{"an input changed", func() { s.Inputs["recipe"] = "2" }, true, "changed: recipe"},
		{"an input went", func() { delete(s.Inputs, "base") }, true, "changed: base"},
		{"output corrupted", func() { os.WriteFile(out, []byte("mode"), 0o644) }, true, "out has other contents"},
		{"output cut", func() { os.WriteFile(out, []byte("ma"), 0o644) }, true, "out has another size"},
		{"output lost", func() { os.Remove(out) }, true, "out is missing"},
		{"stamp corrupted", func() { os.WriteFile(filepath.Join(r.Dir, "make.json"), []byte("{"), 0o644) }, true, "unreadable"},
		{"forgotten", func() { r.Forget("make") }, true, "not run before"},
	}
	for _, step := range steps {
		step.change()
		log.Reset()
		before := runs
		if err := r.Do(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if ran := runs > before; ran != step.ran || !strings.Contains(log.String(), step.why) {
			t.Errorf("%s: ran %t, want %t because %q; log:\n%s", step.name, ran, step.ran, step.why, log.String())
		}
	}
}

func TestDigestReadsOnlyWhatWasTouched(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	r := Runner{Dir: filepath.Join(dir, "stamps")}
	digest := func() string {
		t.Helper()
		sum, err := r.Digest("make", out)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	s := Stage{Name: "make", Outputs: []string{out}, Run: func(context.Context) error { return os.WriteFile(out, []byte("made"), 0o644) }}
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	made := digest()
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	// Contents that differ under the same size and time show what is not read.
	os.WriteFile(out, []byte("mode"), 0o644)
	if got := digest(); got == made {
		t.Error("a file that was touched was not read")
	}
	os.Chtimes(out, time.Time{}, info.ModTime())
	if got := digest(); got != made {
		t.Error("a file that was not touched was read")
	}
}

func TestDoOfAFailedStageRunsAgain(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	broken := errors.New("broken")
	result := error(nil)
	s := Stage{Name: "make", Inputs: map[string]string{"a": "1"}, Outputs: []string{out}, Run: func(context.Context) error {
		os.WriteFile(out, nil, 0o644)
		return result
	}}
	r := Runner{Dir: dir}
	if err := r.Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	s.Inputs["a"] = "2"
	result = broken
	if err := r.Do(t.Context(), s); !errors.Is(err, broken) || !strings.Contains(err.Error(), "stage make") {
		t.Fatalf("got %v, want the stage's name and its error", err)
	}
	s.Inputs["a"] = "1" // what the last good run was made from
	if err := r.Do(t.Context(), s); !errors.Is(err, broken) {
		t.Errorf("got %v: the stamp of an earlier run outlived a failed one", err)
	}
}

func TestTreeDigest(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "etc", "conf")
	digest := func() string {
		t.Helper()
		d, err := TreeDigest(root)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	os.Mkdir(filepath.Join(root, "etc"), 0o755)
	os.WriteFile(file, []byte("a"), 0o644)
	first := digest()
	os.Chtimes(file, time.Time{}, time.Unix(0, 0))
	os.Chmod(file, 0o664)
	if digest() != first {
		t.Error("a time or the group's write bit changed the digest; neither gets into an image")
	}
	for name, change := range map[string]func() error{
		"mode":     func() error { return os.Chmod(file, 0o755) },
		"private":  func() error { return os.Chmod(file, 0o600) },
		"closed":   func() error { return os.Chmod(filepath.Dir(file), 0o700) },
		"contents": func() error { return os.WriteFile(file, []byte("b"), 0o644) },
		"link":     func() error { return os.Symlink("conf", filepath.Join(root, "etc", "l")) },
		"empty":    func() error { return os.Mkdir(filepath.Join(root, "d"), 0o755) },
	} {
		before := digest()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if digest() == before {
			t.Errorf("%s: the digest did not change", name)
		}
	}
}

// A provisioner's file or directory may be a link: what is behind it is copied.
// A link inside a directory is copied as what it is.
func TestTreeDigestBehindALink(t *testing.T) {
	root := t.TempDir()
	in := func(name string) string { return filepath.Join(root, name) }
	digest := func(name string) string {
		t.Helper()
		d, err := TreeDigest(in(name))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	write := func(name, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(in(name)), 0o755), os.WriteFile(in(name), []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("shared/app.conf", "one")
	write("shared/more/x", "")
	for link, target := range map[string]string{
		"one.conf": "shared/app.conf", "two.conf": "one.conf", "dir": "shared", "absolute": in("shared"), "shared/inside": "more",
	} {
		if err := os.Symlink(target, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	if digest("one.conf") != digest("shared/app.conf") || digest("dir") != digest("shared") {
		t.Error("a link and what is behind it have other digests")
	}
	links := []string{"one.conf", "two.conf", "dir", "absolute"}
	before := map[string]string{}
	for _, link := range links {
		before[link] = digest(link)
	}
	write("shared/app.conf", "two")
	for _, link := range links {
		if digest(link) == before[link] {
			t.Errorf("a change behind %s is not seen", link)
		}
	}
	if err := os.Symlink("gone", in("dangling")); err != nil {
		t.Fatal(err)
	}
	if _, err := TreeDigest(in("dangling")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link to nothing: %v", err)
	}
}
