package standin

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/registry"
)

// imageRegistry is the registry for container images of the device's own. What
// is pushed to it is in its directory; what it is called is forgotten when it
// ends, unlike the real one's.
type imageRegistry struct {
	host, port, dir string
}

func newRegistry(env func(string) string) (Service, error) {
	addr := or(env("REGISTRY_HTTP_ADDR"), ":5000")
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return nil, fmt.Errorf("REGISTRY_HTTP_ADDR: want HOST:PORT, got %q", addr)
	}
	return &imageRegistry{host: host, port: port, dir: or(env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"), "/var/lib/registry")}, nil
}

func (r *imageRegistry) Run(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("making the directory of what is pushed: %w", err)
	}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(r.dir)))
	return serve(ctx, web{addr: net.JoinHostPort(r.host, r.port), handler: handler})
}

func (r *imageRegistry) Healthy(ctx context.Context) error {
	return get(ctx, http.DefaultClient, "http://"+net.JoinHostPort(dialable(r.host), r.port)+"/v2/")
}
