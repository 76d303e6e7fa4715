// Package remote asks a device from outside: a root shell over SSH, web pages, DNS.
// It knows nothing of what should be true of the device, nor whether it is emulated.
package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// handshake is how long a slow sshd may take to answer a connection.
const handshake = 30 * time.Second

// Config says how a device is reached.
type Config struct {
	// User is who logs in; it must be allowed to use sudo without a password.
	User string
	Auth []ssh.AuthMethod
	// Known judges the first host key that is shown. No other one is taken after that.
	Known KnownHosts
	// Addr is where a port is reached, as in 192.0.2.1:80; the protocol is tcp or udp.
	Addr func(protocol string, port int) (string, error)
	// Behind is the device's own address where QEMU forwards ports to it, "" where
	// Addr leads to the device itself.
	Behind string
}

// Device is a device that is asked from outside.
type Device struct {
	config Config

	mu      sync.Mutex
	client  *ssh.Client   // kept until it breaks
	hostKey ssh.PublicKey // of the first connection that came about
}

// New returns a device that nobody has connected to yet.
func New(c Config) *Device { return &Device{config: c} }

func (d *Device) forwarded() bool { return d.config.Behind != "" }

// Addr is where a port of the device is reached from this host.
func (d *Device) Addr(protocol string, port int) (string, error) {
	return d.config.Addr(protocol, port)
}

// ExitError reports a command that ran on the device and did not exit with 0.
type ExitError struct {
	Command string
	Status  int
	Stderr  string
}

func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s: exit status %d on the device", e.Command, e.Status)
	if e.Stderr != "" {
		msg += ": " + e.Stderr
	}
	return msg
}

// Run runs a shell command as root on the device and returns its standard output
// without the trailing newline.
func (d *Device) Run(ctx context.Context, command string) (string, error) {
	out, err := d.run(ctx, command)
	if exit := new(ssh.ExitError); errors.As(err, &exit) {
		return out.stdout, &ExitError{Command: command, Status: exit.ExitStatus(), Stderr: out.stderr}
	}
	if err == nil {
		return out.stdout, nil
	}
	d.Disconnect()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.stdout, fmt.Errorf("running %q on the device: %w", command, err)
}

type output struct{ stdout, stderr string }

func (d *Device) run(ctx context.Context, command string) (output, error) {
	client, err := d.connect(ctx)
	if err != nil {
		return output{}, err
	}
	// A device that has stopped answering blocks everything below.
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

func (d *Device) connect(ctx context.Context) (*ssh.Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		return d.client, nil
	}
	addr, err := d.Addr("tcp", 22)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: handshake}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to the device's SSH port: %w", err)
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
		User: d.config.User, Auth: d.config.Auth, HostKeyAlgorithms: d.config.Known.algorithms(addr),
		HostKeyCallback: func(host string, at net.Addr, key ssh.PublicKey) error {
			seen = key
			if d.hostKey == nil {
				return d.config.Known.check(host, at, key)
			}
			if !bytes.Equal(d.hostKey.Marshal(), key.Marshal()) {
				return fmt.Errorf("the device's SSH host key is no longer the one it had before: %s", ssh.FingerprintSHA256(key))
			}
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("logging in to the device as %s: %w", d.config.User, errors.Join(err, conn.Close()))
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	d.hostKey = seen
	d.client = ssh.NewClient(c, chans, reqs)
	return d.client, nil
}

// ForgetHostKey has the next connection take whatever key the device has: it has been
// told to make new ones.
func (d *Device) ForgetHostKey() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hostKey = nil
}

// Disconnect ends the connection; the next command makes a new one.
func (d *Device) Disconnect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.client != nil {
		_ = d.client.Close()
		d.client = nil
	}
}

// again is how long it takes until a device that restarts is asked another time.
const again = 2 * time.Second

// Restart does what makes the device restart, and returns when it can be asked
// again and it is another boot than before.
func (d *Device) Restart(ctx context.Context, how func(context.Context) error) error {
	const id = "cat /proc/sys/kernel/random/boot_id"
	before, err := d.Run(ctx, id)
	if err != nil {
		return err
	}
	if err := how(ctx); err != nil {
		return err
	}
	d.Disconnect()
	for {
		now, err := d.Run(ctx, id)
		if err == nil && now != before {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("the boot id is still %s", now)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the device to restart: %w; %w", context.Cause(ctx), err)
		case <-time.After(again):
		}
	}
}

// Reboot asks the device to restart and waits for that.
func (d *Device) Reboot(ctx context.Context) error {
	return d.Restart(ctx, func(ctx context.Context) error { return d.Leave(ctx, "reboot") })
}

// Leave asks the device to go, in the way that a verb of systemctl says. It may be
// gone before it has answered.
func (d *Device) Leave(ctx context.Context, verb string) error {
	_, err := d.Run(ctx, "systemctl --no-block "+verb)
	d.Disconnect()
	if errors.As(err, new(*ssh.ExitMissingError)) {
		return nil
	}
	return err
}
