//go:build integration

package chroot

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/chroottest"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// fakeCat is an overlay with a cat that runs script.
type fakeCat struct {
	script   string
	filesErr error
}

func (f fakeCat) Files([]string) ([]InjectedFile, error) {
	return []InjectedFile{{Path: "usr/bin/cat", Mode: 0o755, Data: []byte("#!/bin/sh\n" + f.script)}}, f.filesErr
}

func (fakeCat) Verify(upper string) error {
	raw, err := os.ReadFile(filepath.Join(upper, "etc/word"))
	if err == nil && strings.Contains(string(raw), "stays") {
		return errors.New("/etc/word is a file of the build machine")
	}
	return nil
}

func (fakeCat) Crashed(output string) string {
	if strings.Contains(output, "Segmentation fault") {
		return "cat"
	}
	return ""
}

func TestNativeProgramsNeverBreakAStep(t *testing.T) {
	base := chroottest.Tools(t)
	if err := os.WriteFile(filepath.Join(base, "etc/own"), []byte("own\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const script = `echo ran; echo half >/etc/half; cat /etc/own >/etc/word; rm /etc/half`
	for name, tt := range map[string]struct {
		native        fakeCat
		script        string
		runs          int
		word, warning string // "" is none
		fails         bool
	}{
		"works":            {fakeCat{script: "echo native"}, script, 1, "native", "", false},
		"crashes":          {fakeCat{script: "kill -SEGV $$"}, script, 2, "own", "the native cat crashed", false},
		"stays in a layer": {fakeCat{script: "echo stays"}, script, 2, "own", "/etc/word is a file of the build machine", false},
		"not to be had":    {fakeCat{filesErr: errors.New("no such version")}, script, 1, "own", "no such version", false},
		"step fails":       {fakeCat{script: "echo native"}, script + "; exit 3", 1, "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			var out, log bytes.Buffer
			dir := t.TempDir()
			d := layer.Draft{Tree: filepath.Join(dir, "tree"), Scratch: filepath.Join(dir, "scratch")}
			for _, dir := range []string{d.Tree, d.Scratch} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			err := Provision(t.Context(), d, []string{base}, tt.native, []Step{{
				Argv:     []string{"/bin/sh", "-euc", tt.script},
				Env:      []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
				Hostname: "box",
				Output:   process.Tee(&out),
			}}, progress.New(&log))
			if failed := err != nil; failed != tt.fails {
				t.Fatalf("got %v", err)
			}
			if runs := strings.Count(out.String(), "ran\n"); runs != tt.runs {
				t.Errorf("ran %d times, want %d:\n%s", runs, tt.runs, out.String())
			}
			if warnings := strings.Count(log.String(), "warning"); !strings.Contains(log.String(), tt.warning) || (warnings == 1) != (tt.warning != "") {
				t.Errorf("want one warning with %q, got %q", tt.warning, log.String())
			}
			if tt.fails {
				return
			}
			if got := list(t, d.Tree); got != "etc/word" {
				t.Errorf("the layer holds %q, want etc/word alone", got)
			}
			if raw, _ := os.ReadFile(filepath.Join(d.Tree, "etc/word")); strings.TrimSpace(string(raw)) != tt.word {
				t.Errorf("the step wrote %q, want %q", raw, tt.word)
			}
		})
	}
}
