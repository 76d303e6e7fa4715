package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote/remotetest"
)

func newECDSA(t *testing.T) ssh.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestParsePlace(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Place
		addr string // of port 80
	}{
		{"cubeos@192.168.1.7", Place{"cubeos", "192.168.1.7", 22}, "192.168.1.7:80"},
		{"anna@nest.local:2222", Place{"anna", "nest.local", 2222}, "nest.local:80"},
		{"cubeos@[fe80::1%eth0]:2222", Place{"cubeos", "fe80::1%eth0", 2222}, ""},
		{"cubeos@2001:db8::7", Place{"cubeos", "2001:db8::7", 22}, "[2001:db8::7]:80"},
		{"cubeos@[2001:db8::7]", Place{"cubeos", "2001:db8::7", 22}, "[2001:db8::7]:80"},
		{"cubeos@[2001:db8::7]:2222", Place{"cubeos", "2001:db8::7", 2222}, "[2001:db8::7]:80"},
		{in: "192.168.1.7"}, {in: "@192.168.1.7"}, {in: "cubeos@"}, {in: "cubeos@nest:0"}, {in: "cubeos@nest:ssh"},
		{in: "cubeos@nest:22:23"}, {in: "cubeos@a@b"}, {in: "cubeos@a b"}, {in: ""},
	} {
		got, err := ParsePlace(tt.in)
		if tt.want == (Place{}) {
			if err == nil || !strings.Contains(err.Error(), `"`+tt.in) {
				t.Errorf("%q: got %+v, %v", tt.in, got, err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", tt.in, err, diff)
		}
		if addr, _ := got.Addr("tcp", 80); tt.addr != "" && addr != tt.addr {
			t.Errorf("%q: port 80 is at %s, want %s", tt.in, addr, tt.addr)
		}
	}
	p := Place{"cubeos", "nest", 2222}
	if addr, _ := p.Addr("tcp", 22); addr != "nest:2222" || p.String() != "cubeos@nest:2222" {
		t.Errorf("SSH of %s is at %s", p, addr)
	}
}

// writeKey writes a private key, with a passphrase if one is given.
func writeKey(t *testing.T, file, passphrase string) ssh.PublicKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer.PublicKey()
}

// opens reports whether a way to log in opens a device that lets in one key.
func opens(t *testing.T, way ssh.AuthMethod, key ssh.PublicKey) bool {
	t.Helper()
	server := remotetest.Start(t, func(string) remotetest.Answer { return remotetest.Answer{} })
	server.LetsIn = key
	d := New(Config{User: server.User, Auth: []ssh.AuthMethod{way}, Addr: func(string, int) (string, error) { return server.Addr, nil }})
	defer d.Disconnect()
	_, err := d.Run(t.Context(), "true")
	return err == nil
}

func TestKeys(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	dir := t.TempDir()
	if _, _, err := Keys("", dir); err == nil || !strings.Contains(err.Error(), "-key=FILE") {
		t.Errorf("without a key: %v", err)
	}
	writeKey(t, filepath.Join(dir, "id_rsa"), "secret")
	if _, _, err := Keys("", dir); err == nil {
		t.Error("a key that needs a passphrase is one to log in with")
	}
	if _, _, err := Keys(filepath.Join(dir, "id_rsa"), dir); err == nil || !strings.Contains(err.Error(), "ssh-add") {
		t.Errorf("with a passphrase: %v", err)
	}
	if _, _, err := Keys(filepath.Join(dir, "missing"), dir); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("without its file: %v", err)
	}
	usual, own := writeKey(t, filepath.Join(dir, "id_ecdsa"), ""), writeKey(t, filepath.Join(dir, "of-the-lab"), "")
	way, release, err := Keys("", dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if !opens(t, way, usual) || opens(t, way, own) {
		t.Error("without -key it is not the usual file's key that opens")
	}
	if way, _, err = Keys(filepath.Join(dir, "of-the-lab"), dir); err != nil {
		t.Fatal(err)
	}
	if !opens(t, way, own) || opens(t, way, usual) {
		t.Error("with -key it is not that file's key alone that opens")
	}
}

func TestKeysOfTheAgent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	keyring := agent.NewKeyring()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keyring, conn) }()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket)
	way, release, err := Keys("", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release() }()
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if !opens(t, way, signer.PublicKey()) {
		t.Error("the agent's key does not open")
	}
	t.Setenv("SSH_AUTH_SOCK", socket+".gone")
	if _, _, err := Keys("", t.TempDir()); err == nil || !strings.Contains(err.Error(), "asking the SSH agent") {
		t.Errorf("an agent that is gone: %v", err)
	}
}
