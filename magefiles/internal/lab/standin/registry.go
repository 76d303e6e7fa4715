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

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// imageRegistry is the registry for container images of the device's own. What
// is pushed to it is in its directory; what it is called is forgotten when it
// ends, unlike the real one's.
type imageRegistry struct {
	addr, dir string
}

func newRegistry(env service.Env) (Service, error) {
	addr := env.Or("REGISTRY_HTTP_ADDR", ":5000")
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return nil, fmt.Errorf("REGISTRY_HTTP_ADDR: want HOST:PORT, got %q", addr)
	}
	return &imageRegistry{addr: addr, dir: env.Or("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/var/lib/registry")}, nil
}

func (r *imageRegistry) Run(ctx context.Context) error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("making the directory of what is pushed: %w", err)
	}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithBlobHandler(registry.NewDiskBlobHandler(r.dir)))
	return service.Serve(ctx, service.Listener{Addr: r.addr, Handler: handler})
}

func (r *imageRegistry) Healthy(ctx context.Context) error {
	return service.Probe(ctx, http.DefaultClient, "http://"+service.Local(r.addr)+"/v2/")
}
