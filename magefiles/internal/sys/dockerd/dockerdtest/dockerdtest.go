// Package dockerdtest starts a Docker daemon for a test that needs root.
package dockerdtest

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"
)

// Daemon is one of a test's own: its data, socket and containers are in one
// temporary directory, and it has no way out to a network.
type Daemon struct {
	t     *testing.T
	dir   string
	blind string // a directory that it does not see
	log   string
	ended chan struct{}
	proc  *os.Process
	*client.Client
}

// Start starts a daemon and makes it the one that DOCKER_HOST names.
func Start(t *testing.T) *Daemon { return StartBlind(t, "") }

// StartBlind starts one that does not see what is in a directory, like
// one on another machine.
func StartBlind(t *testing.T, blind string) *Daemon {
	t.Helper()
	// The socket's path may have 107 characters at most, so t.TempDir is no place.
	dir, err := os.MkdirTemp("", "dockerd-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{t: t, dir: dir, blind: blind, log: filepath.Join(dir, "log")}
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
	t.Setenv("DOCKER_HOST", d.Host())
	t.Setenv("DOCKER_CONFIG", filepath.Join(dir, "config"))
	d.Start()
	t.Cleanup(d.Stop)
	return d
}

// Host is what DOCKER_HOST names it by.
func (d *Daemon) Host() string { return "unix://" + d.socket() }

func (d *Daemon) socket() string { return filepath.Join(d.dir, "sock") }

// Start starts it again after Stop.
func (d *Daemon) Start() {
	d.t.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close()
	in := func(name string) string { return filepath.Join(d.dir, name) }
	cmd := exec.Command("dockerd", "--data-root", in("data"), "--exec-root", in("exec"), "--pidfile", in("pid"),
		"--host", d.Host(), "--bridge=none", "--iptables=false", "--shutdown-timeout=5")
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
	d.ended = make(chan struct{})
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the starting thread ends
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		_ = cmd.Wait() // it is told to end, or its log says why it has
		close(d.ended)
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
func (d *Daemon) runc() string {
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

// Stop ends the daemon, and with it its containers.
func (d *Daemon) Stop() {
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

// BehindProxy makes DOCKER_HOST name a way to the daemon that lose cuts.
func (d *Daemon) BehindProxy() (lose func()) {
	d.t.Helper()
	path := filepath.Join(d.dir, "proxy")
	l, err := net.Listen("unix", path)
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cut := context.WithCancel(context.Background())
	context.AfterFunc(ctx, func() { _ = l.Close() })
	d.t.Cleanup(cut)
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", d.socket())
			if err != nil {
				_ = from.Close()
				continue
			}
			context.AfterFunc(ctx, func() { _, _ = from.Close(), to.Close() })
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
