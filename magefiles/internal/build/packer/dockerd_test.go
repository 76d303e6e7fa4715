//go:build integration

package packer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/chroottest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// dockerd is a daemon of a test's own: its data, socket and containers are in
// one temporary directory, and it has no network.
type dockerd struct {
	t     *testing.T
	dir   string
	blind string // a directory that it does not see
	log   string
	ended chan error
	proc  *os.Process
	*client.Client
}

// startDockerd starts a daemon and makes it the one that DOCKER_HOST names.
func startDockerd(t *testing.T) *dockerd { return startBlindDockerd(t, "") }

// startBlindDockerd starts one that does not see what is in a directory, like
// one on another machine.
func startBlindDockerd(t *testing.T, blind string) *dockerd {
	t.Helper()
	// The socket's path may have 107 characters at most, so t.TempDir is no place.
	dir, err := os.MkdirTemp("", "dockerd-")
	if err != nil {
		t.Fatal(err)
	}
	d := &dockerd{t: t, dir: dir, blind: blind, log: filepath.Join(dir, "log")}
	t.Cleanup(func() {
		if t.Failed() {
			if raw, err := os.ReadFile(d.log); err == nil {
				t.Logf("the daemon's log ends:\n%s", raw[max(0, len(raw)-3000):])
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("DOCKER_HOST", "unix://"+d.socket())
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, "config"))
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *dockerd) socket() string { return filepath.Join(d.dir, "sock") }

func (d *dockerd) start() {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	in := func(name string) string { return filepath.Join(d.dir, name) }
	cmd := exec.Command("dockerd", "--data-root", in("data"), "--exec-root", in("exec"), "--pidfile", in("pid"),
		"--host", "unix://"+d.socket(), "--bridge=none", "--iptables=false", "--shutdown-timeout=5")
	if d.blind != "" {
		hide := []string{"unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", `mount -t tmpfs none "$0"; exec "$@"`, d.blind}
		path, err := exec.LookPath(hide[0])
		if err != nil {
			d.t.Fatal(err)
		}
		cmd.Path, cmd.Args = path, append(hide, cmd.Args...)
	}
	if runc := d.runc(); runc != "" {
		cmd.Args = append(cmd.Args, "--add-runtime=bounded="+runc, "--default-runtime=bounded")
	}
	cmd.Stdout, cmd.Stderr = log, log
	// Should the test be killed, the daemon ends its containers and itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error, 1)
	d.ended = make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the starting thread ends
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		d.ended <- cmd.Wait()
	}()
	if err := <-started; err != nil {
		d.t.Fatalf("starting dockerd (Debian's package docker.io): %v", err)
	}
	d.proc = cmd.Process
	if d.Client, err = client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation()); err != nil {
		d.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err = d.Ping(d.t.Context()); err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("dockerd does not answer: %v", err)
		}
	}
}

// runc returns a wrapper of runc for a machine without CAP_SYS_RESOURCE, as
// containers and sandboxes often are: Docker before 23 gives a privileged
// container more capabilities than the daemon itself has, and runc refuses.
func (d *dockerd) runc() string {
	has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, unix.CAP_SYS_RESOURCE, 0, 0, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	if has == 1 {
		return ""
	}
	path := filepath.Join(d.dir, "runc")
	script := `#!/bin/sh -e
bundle=
for arg; do
  if [ "$bundle" = next ]; then bundle=$arg; break; fi
  if [ "$arg" = --bundle ]; then bundle=next; fi
done
if [ -n "$bundle" ]; then sed -i 's/"CAP_SYS_RESOURCE",//g' "$bundle/config.json"; fi
exec runc "$@"
`
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// stop ends the daemon, and with it its containers.
func (d *dockerd) stop() {
	if d.proc == nil {
		return
	}
	_ = d.Close()
	if err := d.proc.Signal(syscall.SIGTERM); err != nil {
		d.t.Error(err)
	}
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		d.t.Error("dockerd does not stop")
		_ = syscall.Kill(-d.proc.Pid, syscall.SIGKILL)
		<-d.ended
	}
	d.proc = nil
}

// behindProxy makes DOCKER_HOST name a way to the daemon that lose cuts.
func (d *dockerd) behindProxy() (lose func()) {
	d.t.Helper()
	path := filepath.Join(d.dir, "proxy")
	l, err := net.Listen("unix", path)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cut := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() { l.Close() })
	d.t.Cleanup(cut)
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", d.socket())
			if err != nil {
				from.Close()
				continue
			}
			context.AfterFunc(ctx, func() { from.Close(); to.Close() })
			for _, ends := range [][2]net.Conn{{from, to}, {to, from}} {
				go func() {
					_, _ = io.Copy(ends[0], ends[1])
					_ = ends[0].(*net.UnixConn).CloseWrite()
				}()
			}
		}
	}()
	d.t.Setenv("DOCKER_HOST", "unix://"+path)
	return cut
}

// standIn is the image of a builder that needs no network to come by: this
// machine's own tools, Packer, and the plugin in testdata.
func standIn(t *testing.T) v1.Image {
	t.Helper()
	root := chroottest.Tools(t, "chroot", "losetup", "umount", "dd")
	plugins := filepath.Join(root, "plugins", "github.com", "cubeos-app", "arm")
	for _, dir := range []string{plugins, filepath.Join(root, "root"), filepath.Join(root, "build")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plugin := filepath.Join(plugins, "packer-plugin-arm_v0.0.1_x5.0_linux_"+runtime.GOARCH)
	compile(t, plugin, "./magefiles/internal/build/packer/testdata/plugin")
	compile(t, filepath.Join(root, "usr", "bin", "packer"), "github.com/hashicorp/packer")
	raw, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	write(t, plugin+"_SHA256SUM", fmt.Sprintf("%x\n", sha256.Sum256(raw)))
	write(t, filepath.Join(root, "entrypoint.sh"), "#!/bin/sh -e\necho \"running /bin/packer $*\"\nexec /bin/packer \"$@\"\n")
	write(t, filepath.Join(root, "etc", "resolv.conf"), "")
	return imageOf(t, runtime.GOARCH, layerOf(t, root))
}

// standInFor is an image that says to be for another architecture.
func standInFor(t *testing.T, arch string) v1.Image {
	t.Helper()
	return imageOf(t, arch, layerOf(t, t.TempDir()))
}

func imageOf(t *testing.T, arch string, layer v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config = v1.Config{
		Entrypoint: []string{"/bin/sh", "/entrypoint.sh"},
		WorkingDir: "/build",
		Env:        []string{"PACKER_LOG=1", "PACKER_PLUGIN_PATH=/plugins", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// compile builds a package with the modules of the real Packer.
func compile(t *testing.T, output, pkg string) {
	t.Helper()
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	err = process.Cmd{
		Argv: []string{"go", "build", "-modfile=.ci/packer.mod", "-ldflags=-s -w", "-o", output, pkg},
		Dir:  root,
		Env:  append(os.Environ(), "CGO_ENABLED=0"),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// layerOf packs a tree.
func layerOf(t *testing.T, root string) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.AddFS(os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// load gives the daemon an image under a name.
func (d *dockerd) load(img v1.Image, reference string) {
	d.t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		d.t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarball.Write(tag, img, w)) }()
	response, err := d.ImageLoad(d.t.Context(), r)
	if err != nil {
		d.t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		d.t.Fatal(err)
	}
}

// loopDevices returns what this machine has attached.
func loopDevices(t *testing.T) string {
	t.Helper()
	out, err := process.Output(context.Background(), "losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(out), " ")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
