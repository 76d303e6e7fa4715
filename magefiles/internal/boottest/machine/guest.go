package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// handshake is how long an emulated sshd may take to answer a connection.
const handshake = 30 * time.Second

// Login is the user that Run works as; it must be allowed to use sudo.
type Login struct {
	User   string
	Signer ssh.Signer
}

// guest keeps one SSH connection and makes a new one when it has broken.
type guest struct {
	login Login

	mu      sync.Mutex
	client  *ssh.Client
	hostKey ssh.PublicKey // of the first connection that came about
}

func newGuest(login Login) *guest { return &guest{login: login} }

// ExitError reports a guest command that ran and did not exit with 0.
type ExitError struct {
	Command string
	Status  int
	Stderr  string
}

func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s: exit status %d in the guest", e.Command, e.Status)
	if e.Stderr != "" {
		msg += ": " + e.Stderr
	}
	return msg
}

// Run runs a shell command as root in the guest and returns its standard output
// without the trailing newline.
func (m *Machine) Run(ctx context.Context, command string) (string, error) {
	out, err := m.run(ctx, command)
	if exit := new(ssh.ExitError); errors.As(err, &exit) {
		return out.stdout, &ExitError{Command: command, Status: exit.ExitStatus(), Stderr: out.stderr}
	}
	if err == nil {
		return out.stdout, nil
	}
	m.guest.disconnect()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.stdout, fmt.Errorf("running %q in the guest: %w", command, err)
}

type output struct{ stdout, stderr string }

func (m *Machine) run(ctx context.Context, command string) (output, error) {
	client, err := m.connect(ctx)
	if err != nil {
		return output{}, err
	}
	// A guest that has stopped answering blocks everything below.
	release := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer release()
	session, err := client.NewSession()
	if err != nil {
		return output{}, err
	}
	defer session.Close()
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	err = session.Run(process.Quote([]string{"sudo", "-n", "sh", "-c", command}))
	return output{strings.TrimRight(stdout.String(), "\n"), strings.TrimSpace(stderr.String())}, err
}

func (m *Machine) connect(ctx context.Context) (*ssh.Client, error) {
	g := m.guest
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil {
		return g.client, nil
	}
	addr, err := m.Addr("tcp", 22)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: handshake}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to the guest's SSH port: %w", err)
	}
	// QEMU accepts a forwarded connection before the guest does, so it is the
	// handshake that may wait forever.
	if err := conn.SetDeadline(time.Now().Add(handshake)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	var seen ssh.PublicKey
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, &ssh.ClientConfig{
		User: g.login.User,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(g.login.Signer)},
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			seen = key
			if g.hostKey != nil && !bytes.Equal(g.hostKey.Marshal(), key.Marshal()) {
				return fmt.Errorf("the guest's SSH host key is no longer the one it had before: %s", ssh.FingerprintSHA256(key))
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("logging in to the guest as %s: %w", g.login.User, errors.Join(err, conn.Close()))
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	g.hostKey = seen
	g.client = ssh.NewClient(c, chans, reqs)
	return g.client, nil
}

// ForgetHostKey has the next connection take whatever key the guest has: it has been
// told to make new ones.
func (m *Machine) ForgetHostKey() {
	m.guest.mu.Lock()
	defer m.guest.mu.Unlock()
	m.guest.hostKey = nil
}

func (g *guest) disconnect() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.client != nil {
		_ = g.client.Close()
		g.client = nil
	}
}

// Addr is where a port of the guest is reachable from this host.
func (m *Machine) Addr(proto string, port int) (string, error) {
	for _, f := range m.Spec.Forwards {
		if f.Proto == proto && f.Guest == port {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.Host)), nil
		}
	}
	return "", fmt.Errorf("port %d/%s of the guest is not forwarded", port, proto)
}
