//go:build integration

package layer

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// onFileSystem runs the rest of a test in another process, in a mount namespace
// of its own, with the outcome of the shell command mount on "$1". It returns
// that directory there, and "" here, when all is done.
func onFileSystem(t *testing.T, mount string) string {
	t.Helper()
	if dir := os.Getenv(roleDir); dir != "" {
		return dir
	}
	dir := t.TempDir()
	script := mount + `
shift
exec "$@"`
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", "--",
		"sh", "-euc", script, "sh", dir, os.Args[0], "-test.run="+pattern)
	cmd.Env = append(os.Environ(), roleDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return ""
}

func TestProbeAcceptsWhatCanHoldLayers(t *testing.T) {
	for name, mount := range map[string]string{
		"as it is": ":",
		"ext4":     `truncate -s 64M "$1.img"; mke2fs -q -t ext4 "$1.img"; mount -o loop "$1.img" "$1"; rm "$1.img"`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := onFileSystem(t, mount)
			if dir == "" {
				return
			}
			c := newCache(t)
			c.dir = filepath.Join(dir, "layers")
			if err := c.open().Probe(t.Context()); err != nil {
				t.Error(err)
			}
			if keys, layers := c.names(); len(keys)+len(layers) > 0 {
				t.Errorf("left %v, %v", keys, layers)
			}
		})
	}
}

func TestProbeRefusesWhatCannotHoldLayers(t *testing.T) {
	for name, tt := range map[string]struct{ mount, want string }{
		"no extended attributes": {`mount -t ramfs ramfs "$1"`, "cannot be used: its file system"},
		"read-only":              {`mount -t tmpfs -o ro tmpfs "$1"`, "its file system is read-only"},
		"overlay": {`mount -t tmpfs tmpfs "$1"; mkdir "$1/l" "$1/u" "$1/w"
			mount -t overlay -o "lowerdir=$1/l,upperdir=$1/u,workdir=$1/w" overlay "$1"`, "overlayfs cannot stack"},
		"full":      {`mount -t tmpfs -o size=64k tmpfs "$1"; ! head -c 1M /dev/zero >"$1/full"`, "is full"},
		"no inodes": {`mount -t tmpfs -o nr_inodes=5 tmpfs "$1"`, "is full"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := onFileSystem(t, tt.mount)
			if dir == "" {
				return
			}
			s, err := Open(filepath.Join(dir, "layers"), nil)
			if err == nil {
				err = s.Probe(t.Context())
			}
			for _, want := range []string{tt.want, dir, "-cache"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

func TestAFullCacheSaysSoAndLosesNothing(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, ctx context.Context, d Draft) error{
		"this program": func(_ *testing.T, _ context.Context, d Draft) error {
			return os.WriteFile(filepath.Join(d.Tree, "big"), make([]byte, 64<<20), 0o644)
		},
		"a command": func(_ *testing.T, ctx context.Context, d Draft) error {
			return process.Run(ctx, "dd", "if=/dev/zero", "bs=1M", "count=64", "of="+filepath.Join(d.Tree, "big"))
		},
		"a provisioner's overlay": func(_ *testing.T, ctx context.Context, d Draft) error {
			return process.Run(ctx, "unshare", "--mount", "--", "sh", "-euc", `cd "$1"
mkdir lower work root
mount -t overlay -o "lowerdir=lower,upperdir=$2,workdir=work" overlay root
cat /dev/zero >root/big`, "sh", d.Scratch, d.Tree)
		},
		"files without contents": func(_ *testing.T, _ context.Context, d Draft) error {
			for {
				if _, err := os.MkdirTemp(d.Tree, ""); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := onFileSystem(t, `mount -t tmpfs -o size=32M,nr_inodes=1000 tmpfs "$1"`)
			if dir == "" {
				return
			}
			c := newCache(t)
			c.dir = filepath.Join(dir, "layers")
			s := c.open()
			c.layer(s, "before")
			_, err := s.Layer(t.Context(), "key", func(ctx context.Context, d Draft) error { return fill(t, ctx, d) })
			if err != nil && ExplainFull(dir, err).Error() != err.Error() {
				t.Errorf("explained twice: %v", ExplainFull(dir, err))
			}
			for _, want := range []string{"is full", c.dir, "mage clean -layers", "-cache"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			if keys, layers := c.names(); strings.Join(keys, " ") != "before" || len(layers) != 1 {
				t.Errorf("left %v, %v, want what was there before", keys, layers)
			}
			if _, made := c.layer(s, "key"); !made {
				t.Error("the layer that did not fit was taken for finished")
			}
		})
	}
}

func TestAProvisionersOwnFullDiskIsNotTheCaches(t *testing.T) {
	broken := &process.Error{Output: "tar: No space left on device", Err: errors.New("exit status 1")}
	if err := ExplainFull(t.TempDir(), broken); !errors.Is(err, broken) {
		t.Errorf("got %v although there is room", err)
	}
}
