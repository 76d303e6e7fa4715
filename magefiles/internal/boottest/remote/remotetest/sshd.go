// Package remotetest has an SSH server that stands for a device in tests.
package remotetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Answer is what a command of the device does.
type Answer struct {
	Stdout, Stderr string
	Status         int
}

// Server is a device's SSH server. It runs nothing: a test says what commands answer.
type Server struct {
	Addr   string
	User   string
	Client ssh.Signer    // a key to log in with
	LetsIn ssh.PublicKey // the one that it lets in, at first Client's

	listener net.Listener
	run      func(command string) Answer

	mu    sync.Mutex
	keys  []ssh.Signer
	conns []net.Conn
}

// NewKey makes a key of a kind that every SSH has.
func NewKey(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// Start starts a server with some host keys, one of its own if none is given. It ends
// with the test.
func Start(t *testing.T, run func(command string) Answer, hostKeys ...ssh.Signer) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), User: "cubeos", Client: NewKey(t), listener: l, run: run}
	s.LetsIn = s.Client.PublicKey()
	if len(hostKeys) == 0 {
		hostKeys = []ssh.Signer{NewKey(t)}
	}
	s.SetHostKeys(hostKeys...)
	go s.serve()
	t.Cleanup(func() { _ = l.Close(); s.Drop() })
	return s
}

// SetHostKeys changes what new connections are shown.
func (s *Server) SetHostKeys(keys ...ssh.Signer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = keys
}

// Drop breaks all connections off.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		go s.connection(conn)
	}
}

func (s *Server) connection(conn net.Conn) {
	defer conn.Close()
	config := &ssh.ServerConfig{PublicKeyCallback: func(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if meta.User() != s.User || string(key.Marshal()) != string(s.LetsIn.Marshal()) {
			return nil, errors.New("nobody with that key")
		}
		return nil, nil
	}}
	s.mu.Lock()
	for _, key := range s.keys {
		config.AddHostKey(key)
	}
	s.mu.Unlock()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

func (s *Server) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		var asked struct{ Command string }
		if ssh.Unmarshal(r.Payload, &asked) != nil {
			return
		}
		_ = r.Reply(true, nil)
		answer := s.run(asked.Command)
		_, _ = channel.Write([]byte(answer.Stdout))
		_, _ = channel.Stderr().Write([]byte(answer.Stderr))
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(answer.Status)}))
		return
	}
}
