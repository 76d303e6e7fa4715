// Package chroottest provides root file systems for tests, and looks for what
// is left of them.
package chroottest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Tools returns a new directory tree with the build machine's own shell and
// tools, enough to run scripts in a chroot, and those named in more.
func Tools(t *testing.T, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "etc", "boot/firmware", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+d, filepath.Join(dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	script := `cd "$1"; shift
for tool; do
  path=$(command -v "$tool")
  for file in "$path" $(ldd "$path" | grep -o '/[^ ]*'); do
    cp --parents -L "$file" .
  done
done`
	tools := append([]string{"sh", "env", "cat", "chmod", "rm", "mkdir", "mount", "mknod", "sleep", "cp", "ls", "stat", "id"}, more...)
	if err := process.Run(t.Context(), append([]string{"sh", "-euc", script, "sh", dir}, tools...)...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// WhenRunning calls f as soon as there is a process whose command line matches a
// pattern of pgrep's.
func WhenRunning(t *testing.T, pattern string, f func()) {
	ctx := t.Context()
	go func() {
		for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			if _, err := process.Output(ctx, "pgrep", "-f", pattern); err == nil {
				f()
				return
			}
		}
	}()
}

// MustNotRun fails the test if a process whose command line matches a pattern of
// pgrep's does not end by itself.
func MustNotRun(t *testing.T, pattern string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, err := process.Output(t.Context(), "pgrep", "-fa", pattern)
		if err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("still running: %s", out)
			return
		}
	}
}

// MustNotBeMounted fails the test if anything is mounted below dir. Whatever
// else comes and goes meanwhile is other tests'.
func MustNotBeMounted(t *testing.T, dir string) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.Contains(line, dir) {
			t.Errorf("still mounted: %s", line)
		}
	}
}
