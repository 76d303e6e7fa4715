package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Place is where a device is: USER@HOST or USER@HOST:PORT.
type Place struct {
	User, Host string
	Port       int // SSH's
}

// ParsePlace reads a place. An IPv6 address is in brackets where a port follows.
func ParsePlace(s string) (Place, error) {
	user, host, ok := strings.Cut(s, "@")
	p := Place{User: user, Host: host, Port: 22}
	if name, port, err := net.SplitHostPort(host); err == nil {
		p.Host = name
		if p.Port, err = strconv.Atoi(port); err != nil || p.Port < 1 || p.Port > 65535 {
			return p, fmt.Errorf("%q: the port %q is not between 1 and 65535", s, port)
		}
	}
	p.Host = strings.TrimSuffix(strings.TrimPrefix(p.Host, "["), "]")
	_, notAddress := netip.ParseAddr(p.Host)
	if !ok || user == "" || p.Host == "" || notAddress != nil && strings.ContainsAny(p.Host, "@:/ ") {
		return p, fmt.Errorf("%q is no USER@HOST or USER@HOST:PORT, as in cubeos@192.168.1.7", s)
	}
	return p, nil
}

func (p Place) String() string { return p.User + "@" + net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) }

// Addr is where a port of the device there is. Only SSH's may be another one.
func (p Place) Addr(_ string, port int) (string, error) {
	if port == 22 {
		port = p.Port
	}
	return net.JoinHostPort(p.Host, strconv.Itoa(port)), nil
}

// identities are the files that ssh looks for, too, in its directory.
func identities() []string { return []string{"id_ed25519", "id_ecdsa", "id_rsa"} }

// Keys is the way to log in with keys: that of a file, or if file is "", those of the
// user's agent and of the usual files in dir, which is ~/.ssh. Call release when the
// keys are no longer needed.
func Keys(file, dir string) (_ ssh.AuthMethod, release func() error, err error) {
	if file != "" {
		signer, err := readKey(file)
		if err != nil {
			return nil, nil, err
		}
		return ssh.PublicKeys(signer), func() error { return nil }, nil
	}
	var signers []ssh.Signer
	release = func() error { return nil }
	if socket := os.Getenv("SSH_AUTH_SOCK"); socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return nil, nil, fmt.Errorf("asking the SSH agent for keys: %w; -key=FILE does without it", err)
		}
		release = conn.Close
		if signers, err = agent.NewClient(conn).Signers(); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("asking the SSH agent for keys: %w", err), release())
		}
	}
	for _, name := range identities() {
		// Those that are not there or need a passphrase are not meant.
		if signer, err := readKey(filepath.Join(dir, name)); err == nil {
			signers = append(signers, signer)
		}
	}
	if len(signers) == 0 {
		return nil, nil, errors.Join(fmt.Errorf("there is no key to log in with: neither in an SSH agent, nor without a passphrase in %s: ssh-add one, or name its file with -key=FILE", dir), release())
	}
	return ssh.PublicKeys(signers...), release, nil
}

func readKey(file string) (ssh.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the key to log in with: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(b)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		return nil, fmt.Errorf("the key %s has a passphrase: `ssh-add %s` unlocks it, and without -key it is taken from the agent", file, file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the key %s: %w", file, err)
	}
	return signer, nil
}

// KnownHosts judges host keys. The zero value takes any.
type KnownHosts struct {
	known ssh.HostKeyCallback
	// OnFirst is called with a key that is taken although nobody knows it; nil is not.
	OnFirst func(ssh.PublicKey)
}

// ReadKnownHosts reads those of the files that are there.
func ReadKnownHosts(files ...string) (KnownHosts, error) {
	there := slices.DeleteFunc(slices.Clone(files), func(f string) bool {
		_, err := os.Stat(f)
		return errors.Is(err, fs.ErrNotExist)
	})
	known, err := knownhosts.New(there...)
	if err != nil {
		return KnownHosts{}, fmt.Errorf("reading the known hosts: %w", err)
	}
	return KnownHosts{known: known}, nil
}

// check refuses a key that is not the one a known host has. Whoever is not known is
// taken at his word.
func (k KnownHosts) check(host string, at net.Addr, key ssh.PublicKey) error {
	wrong := new(knownhosts.KeyError)
	if k.known != nil {
		err := k.known(host, at, key)
		if !errors.As(err, &wrong) {
			return err
		}
	}
	if len(wrong.Want) == 0 {
		if k.OnFirst != nil {
			k.OnFirst(key)
		}
		return nil
	}
	return fmt.Errorf("the host key %s is another one than %s:%d says; if the device was flashed since then: ssh-keygen -R '%s'",
		ssh.FingerprintSHA256(key), wrong.Want[0].Filename, wrong.Want[0].Line, knownhosts.Normalize(host))
}

// algorithms are those of the keys that are known of a host, so that it shows one of
// these and not another one that it has as well. nil leaves the choice open.
func (k KnownHosts) algorithms(host string) []string {
	if k.known == nil {
		return nil
	}
	wrong := new(knownhosts.KeyError)
	if !errors.As(k.known(host, noAddr{}, noKey{}), &wrong) {
		return nil
	}
	var all []string
	for _, want := range wrong.Want {
		if t := want.Key.Type(); t == ssh.KeyAlgoRSA {
			all = append(all, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			all = append(all, t)
		}
	}
	return all
}

// noKey is nobody's key.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("there is no key") }

// noAddr is nobody's address.
type noAddr struct{}

func (noAddr) Network() string { return "tcp" }
func (noAddr) String() string  { return "0.0.0.0:0" }
