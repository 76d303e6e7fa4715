// Package standintest runs stand-ins in tests.
package standintest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Service is a stand-in.
type Service interface {
	Run(ctx context.Context) error
	Healthy(ctx context.Context) error
}

// Run runs a service, and returns once it is healthy. It ends when stop is
// called, or with the test.
func Run(t *testing.T, s Service) (stop func()) {
	t.Helper()
	stop = Start(t, s)
	Eventually(t, "the service is healthy", func() error { return s.Healthy(t.Context()) })
	return stop
}

// Start runs a service without waiting for it.
func Start(t *testing.T, s Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%T ended with: %v", s, err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// Eventually tries until there is no error.
func Eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(25 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// Addrs returns free addresses, of TCP and of UDP. Their ports are below those
// that the kernel gives to whoever asks for any, so that nobody takes them
// before a service does.
func Addrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for len(addrs) < n {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000))) //nolint:gosec // no secret
		l, err := net.Listen("tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs = append(addrs, addr)
	}
	return addrs
}

// Port returns an address's.
func Port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Root is a container's file system.
type Root struct {
	t *testing.T
	// Dir is where it is.
	Dir string
}

// NewRoot makes a file system of files, and of directories where the name ends
// in a slash.
func NewRoot(t *testing.T, files map[string]string) Root {
	t.Helper()
	r := Root{t, t.TempDir()}
	for name, content := range files {
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(r.Path(name), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		r.Write(name, content)
	}
	return r
}

// Path is where a file of it is.
func (r Root) Path(name string) string { return filepath.Join(r.Dir, name) }

// Write writes a file, and makes its directory.
func (r Root) Write(name, content string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.Path(name), []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// Read reads a file.
func (r Root) Read(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(r.Path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}
