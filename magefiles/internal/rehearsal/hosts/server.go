package hosts

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/cubeos-app/releases/magefiles/internal/lab"
)

// Serve serves handler over TLS until stop is called or ctx ends. It returns
// HOST:PORT.
func (a *Authority) Serve(ctx context.Context, handler http.Handler) (address string, stop func() error, err error) {
	config, err := a.server()
	if err != nil {
		return "", nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("starting a server: %w", err)
	}
	// HTTP/1 only: what cuts a connection has to get hold of it.
	config.NextProtos = []string{"http/1.1"}
	return l.Addr().String(), lab.Serve(ctx, tls.NewListener(l, config), handler), nil
}

// cut hands on the first half of what is answered to a path, once, and then closes
// the connection, as a line that drops does.
type cut struct {
	next  http.Handler
	which func(*http.Request) bool

	once sync.Once
}

func (c *cut) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first := false
	if c.which(r) {
		c.once.Do(func() { first = true })
	}
	if !first {
		c.next.ServeHTTP(w, r)
		return
	}
	c.next.ServeHTTP(&half{ResponseWriter: w}, r)
	panic(http.ErrAbortHandler)
}

// half lets through a part of a body: what is announced, and not all of it.
type half struct {
	http.ResponseWriter
	written int64
}

const untilCut = 64 << 10

func (h *half) Write(p []byte) (int, error) {
	if h.written >= untilCut {
		panic(http.ErrAbortHandler)
	}
	n, err := h.ResponseWriter.Write(p[:min(len(p), untilCut)])
	h.written += int64(n)
	if flusher, ok := h.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
	return n, err
}
