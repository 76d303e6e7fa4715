package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote/remotetest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// over is a device behind a server of a test's.
func over(s *remotetest.Server, known KnownHosts) *Device {
	return New(Config{
		User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.Client)}, Known: known,
		Addr: func(string, int) (string, error) { return s.Addr, nil },
	})
}

func TestRun(t *testing.T) {
	const command = "echo 'a b'; exit $?"
	server := remotetest.Start(t, func(got string) remotetest.Answer {
		switch got {
		case process.Quote([]string{"sudo", "-n", "sh", "-c", command}):
			return remotetest.Answer{Stdout: "a b\n\n", Stderr: "said\n"}
		case process.Quote([]string{"sudo", "-n", "sh", "-c", "false"}):
			return remotetest.Answer{Stdout: "half\n", Stderr: " why \n", Status: 3}
		}
		return remotetest.Answer{Status: 99}
	})
	d := over(server, KnownHosts{})
	if out, err := d.Run(t.Context(), command); err != nil || out != "a b" {
		t.Errorf("got %q, %v", out, err)
	}
	out, err := d.Run(t.Context(), "false")
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Status != 3 || exit.Stderr != "why" || out != "half" {
		t.Errorf("got %q, %v", out, err)
	}
	server.Drop()
	if _, err := d.Run(t.Context(), command); errors.As(err, &exit) && err != nil {
		t.Errorf("a broken connection is the command's own failure: %v", err)
	}
	if out, err := d.Run(t.Context(), command); err != nil || out != "a b" {
		t.Errorf("after the connection broke: %q, %v", out, err)
	}
}

func TestADeviceKeepsItsHostKey(t *testing.T) {
	server := remotetest.Start(t, func(string) remotetest.Answer { return remotetest.Answer{} })
	shown := 0
	d := over(server, KnownHosts{OnFirst: func(ssh.PublicKey) { shown++ }})
	for range 2 {
		if _, err := d.Run(t.Context(), "true"); err != nil {
			t.Fatal(err)
		}
		d.Disconnect()
	}
	if shown != 1 {
		t.Errorf("the key was shown %d times, want once", shown)
	}
	server.SetHostKeys(remotetest.NewKey(t))
	if _, err := d.Run(t.Context(), "true"); err == nil || !strings.Contains(err.Error(), "no longer the one it had before") {
		t.Errorf("with another key: %v", err)
	}
}

func TestKnownHosts(t *testing.T) {
	own, others := remotetest.NewKey(t), remotetest.NewKey(t)
	server := remotetest.Start(t, func(string) remotetest.Answer { return remotetest.Answer{} }, own)
	for _, tt := range []struct {
		name, line, want string
		first            int
	}{
		{name: "nothing is known", line: "", first: 1},
		{name: "another host is known", line: knownhosts.Line([]string{"192.0.2.1"}, others.PublicKey()), first: 1},
		{name: "it is known", line: knownhosts.Line([]string{server.Addr}, own.PublicKey())},
		{name: "it is another one", line: knownhosts.Line([]string{server.Addr}, others.PublicKey()), want: "ssh-keygen -R '[127.0.0.1]:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte(tt.line+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			known, err := ReadKnownHosts(file, file+".missing")
			if err != nil {
				t.Fatal(err)
			}
			first := 0
			known.OnFirst = func(ssh.PublicKey) { first++ }
			_, err = over(server, known).Run(t.Context(), "true")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if first != tt.first {
				t.Errorf("the key was taken on first contact %d times, want %d", first, tt.first)
			}
		})
	}
}

// TestTheKnownKindOfKeyIsAskedFor wants a host of which one key is known to show that
// one, and not another one that it has as well and that a client would prefer.
func TestTheKnownKindOfKeyIsAskedFor(t *testing.T) {
	ed25519, ecdsa := remotetest.NewKey(t), newECDSA(t)
	server := remotetest.Start(t, func(string) remotetest.Answer { return remotetest.Answer{} }, ed25519, ecdsa)
	for _, key := range []ssh.Signer{ed25519, ecdsa} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte(knownhosts.Line([]string{server.Addr}, key.PublicKey())+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		known, err := ReadKnownHosts(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := over(server, known).Run(t.Context(), "true"); err != nil {
			t.Errorf("with a known key of the kind %s: %v", key.PublicKey().Type(), err)
		}
	}
}

func TestRestartWaitsForAnotherBoot(t *testing.T) {
	var boot, asked atomic.Int64
	server := remotetest.Start(t, func(command string) remotetest.Answer {
		if strings.Contains(command, "reboot") {
			return remotetest.Answer{}
		}
		// It is a while until a device that was asked to restart does so.
		if asked.Add(1) == 3 {
			boot.Add(1)
		}
		return remotetest.Answer{Stdout: fmt.Sprintf("boot-%d", boot.Load())}
	})
	d := over(server, KnownHosts{})
	if err := d.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 3 {
		t.Errorf("it was asked %d times for its boot, want 3", asked.Load())
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	err := d.Restart(ctx, func(context.Context) error { cancel(errors.New("no time left")); return nil })
	if err == nil || !strings.Contains(err.Error(), "no time left") {
		t.Errorf("a device that does not restart: %v", err)
	}
	if err := d.Restart(t.Context(), func(context.Context) error { return errors.New("it can not") }); err == nil || err.Error() != "it can not" {
		t.Errorf("a device that can not be asked to: %v", err)
	}
}

func TestAskedDirectly(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg)
		r.SetReply(q)
		r.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 42, 24, 1)}}
		_ = w.WriteMsg(r)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d := New(Config{Addr: func(protocol string, _ int) (string, error) {
		if protocol == "udp" {
			return pc.LocalAddr().String(), nil
		}
		return nobody, nil
	}})
	found, where, err := d.LookupA(t.Context(), "udp", "cubeos.cube")
	if err != nil || len(found) != 1 || found[0] != "10.42.24.1" || where != "from outside" {
		t.Errorf("got %q, %s, %v", found, where, err)
	}
	if open, err := d.Accepts(t.Context(), 6005); open || err != nil {
		t.Errorf("a port where nobody listens: %t, %v", open, err)
	}
	forwarded := New(Config{Addr: d.Addr, Behind: "10.0.2.15"})
	if _, err := forwarded.Accepts(t.Context(), 6005); err == nil {
		t.Error("QEMU does not listen, which is not the device's refusal")
	}
}
