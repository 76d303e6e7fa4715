//go:build integration

package chroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/chroottest"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

func run(t *testing.T, ctx context.Context, layers []string, script string, files ...InjectedFile) (tree, output string, err error) {
	t.Helper()
	s, err := layer.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var out bytes.Buffer
	tree, err = s.Layer(ctx, "key", func(ctx context.Context, d layer.Draft) error {
		return Provision(ctx, d, layers, nil, []Step{{
			Argv:     []string{"/bin/sh", "-euc", script},
			Env:      []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
			Files:    files,
			Hostname: "box",
			Output:   process.Tee(&out),
		}}, nil)
	})
	return tree, out.String(), err
}

// apt's own user reads and runs what is laid over a root file system, though the
// caller's umask lets nobody in and the directories around it are private.
func TestOtherUsersSeeWhatIsLaidOver(t *testing.T) {
	base := chroottest.Tools(t, "setpriv")
	private := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(private, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", private)
	t.Setenv("LC_ALL", "tr_TR.UTF-8")
	t.Setenv("LANGUAGE", "tr")
	before := unix.Umask(0o077)
	t.Cleanup(func() { unix.Umask(before) })
	if err := process.IgnoreCaller(); err != nil {
		t.Fatal(err)
	}
	_, out, err := run(t, t.Context(), []string{base}, "setpriv --reuid=65534 --regid=65534 --clear-groups /usr/lib/lent/bin/tool",
		InjectedFile{Path: "usr/lib/lent/bin/tool", Mode: 0o755, Data: []byte("#!/bin/sh\ncat /usr/lib/lent/data/words; id -u\n")},
		InjectedFile{Path: "usr/lib/lent/data/words", Mode: 0o644, Data: []byte("words\n")})
	if err != nil || out != "words\n65534\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func list(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestAStepKeepsItsChangesAndNoInjectedFile(t *testing.T) {
	base := chroottest.Tools(t)
	os.Symlink("../run/nowhere/resolv.conf", filepath.Join(base, "etc/resolv.conf"))
	injected := []InjectedFile{
		{Path: "etc/resolv.conf", Mode: 0o644, Data: []byte("nameserver 192.0.2.1\n")},
		{Path: "usr/sbin/policy-rc.d", Mode: 0o755, Data: []byte("#!/bin/sh\nexit 101\n")},
	}
	for name, tt := range map[string]struct{ script, keeps string }{
		"used":     {`cat /etc/resolv.conf; if policy-rc.d; then exit 1; else [ $? -eq 101 ]; fi; echo a >/etc/new`, "etc/new"},
		"touched":  {`chmod 600 /etc/resolv.conf; chmod 700 /usr/sbin/policy-rc.d`, ""},
		"removed":  {`rm /usr/sbin/policy-rc.d`, ""},
		"replaced": {`rm /etc/resolv.conf; echo nameserver 127.0.0.1 >/etc/resolv.conf`, "etc/resolv.conf"},
	} {
		tree, out, err := run(t, t.Context(), []string{base}, tt.script, injected...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := list(t, tree); got != tt.keeps {
			t.Errorf("%s: the layer holds %q, want %q", name, got, tt.keeps)
		}
		if name == "used" && !strings.Contains(out, "192.0.2.1") {
			t.Errorf("the resolver was not the injected one: %q", out)
		}
	}
}

func TestAChrootCannotReachTheMachine(t *testing.T) {
	base := chroottest.Tools(t)
	if _, _, err := run(t, t.Context(), []string{base}, `mount --version; mknod --version; [ -e /proc/1/stat ]; [ -d /sys/kernel ]; echo x >/dev/null`); err != nil {
		t.Fatalf("what the chroot must have does not work: %v", err)
	}
	for name, script := range map[string]string{
		"mounts":            `mount -t tmpfs none /tmp`,
		"makes a device":    `mknod /tmp/null c 1 3`,
		"writes to sysfs":   `mkdir /sys/fs/cgroup/x`,
		"sees this process": fmt.Sprintf(`[ -e /proc/%d/cmdline ] && [ "$(cat /proc/%[1]d/comm)" = %s ]`, os.Getpid(), comm(t)),
	} {
		if _, out, err := run(t, t.Context(), []string{base}, script); err == nil {
			t.Errorf("a command in the chroot %s\n%s", name, out)
		}
	}
}

func TestAChrootIsRecognised(t *testing.T) {
	if _, _, err := run(t, t.Context(), []string{chroottest.Tools(t)}, `[ "$(stat -Lc %d:%i /proc/1/root/.)" != "$(stat -c %d:%i /.)" ]`); err != nil {
		t.Errorf("systemctl and ischroot would take the chroot for a running system: %v", err)
	}
}

func TestManyLayers(t *testing.T) {
	layers := []string{chroottest.Tools(t)}
	for range 20 {
		layers = append([]string{filepath.Join(t.TempDir(), strings.Repeat("long", 10))}, layers...)
		if err := os.Mkdir(layers[0], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := run(t, t.Context(), layers, `[ -e /bin/sh ]`); err != nil {
		t.Errorf("as many layers as a recipe makes: %v", err)
	}
	dir := t.TempDir()
	view, err := NewView(layers, filepath.Join(dir, "view"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := process.Output(t.Context(), view.Argv("test", "-e", filepath.Join(view.RootDir(), "bin/sh"))...); err != nil {
		t.Errorf("viewing as many layers as a recipe makes: %v", err)
	}
	if err := view.Close(); err != nil {
		t.Error(err)
	}
}

func comm(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return process.Quote([]string{strings.TrimSpace(string(raw))})
}

func TestACancelledStepLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	chroottest.WhenRunning(t, "sleep 1234[.]5", cancel)
	_, _, err := run(t, ctx, []string{chroottest.Tools(t)}, `trap "" TERM; sleep 1234.5 & while :; do sleep 1; done`)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	chroottest.MustNotRun(t, "sleep 1234[.]5")
	chroottest.MustNotBeMounted(t, t.Name())
}
