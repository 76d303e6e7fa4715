package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// api is CubeOS's API. Its health tells whether a device is wired together
// right: it can write its data, reach HAL, and speak to Docker.
type api struct {
	port, dataDir, dbPath, halURL, dockerSocket string

	docker *http.Client

	mu      sync.Mutex // one look at a time, and not more often than needed
	looked  time.Time
	checks  map[string]string
	healthy bool
}

const lookEvery = 2 * time.Second

// newAPI refuses what the real one refuses to start without.
func newAPI(env func(string) string) (Service, error) {
	var missing []error
	for _, name := range []string{"API_PORT", "DATABASE_PATH", "GATEWAY_IP", "DOMAIN", "DASHBOARD_PORT", "NPM_PORT", "PIHOLE_PORT"} {
		if env(name) == "" {
			missing = append(missing, fmt.Errorf("%s is not set", name))
		}
	}
	a := &api{
		port:         env("API_PORT"),
		dataDir:      or(env("CUBEOS_DATA_DIR"), "/cubeos/data"),
		dbPath:       env("DATABASE_PATH"),
		halURL:       strings.TrimRight(or(env("HAL_URL"), "http://cubeos-hal:6005"), "/"),
		dockerSocket: strings.TrimPrefix(or(env("DOCKER_HOST"), "unix:///var/run/docker.sock"), "unix://"),
	}
	a.docker = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", a.dockerSocket)
		},
	}}
	return a, errors.Join(missing...)
}

func (a *api) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		healthy, checks := a.look(r.Context())
		status, word := http.StatusOK, "healthy"
		if !healthy {
			status, word = http.StatusServiceUnavailable, "unhealthy"
		}
		writeJSON(w, status, map[string]any{"status": word, "service": "cubeos-api", "checks": checks})
	})
	return serve(ctx, web{addr: net.JoinHostPort("", a.port), handler: mux})
}

func (a *api) Healthy(ctx context.Context) error {
	return get(ctx, http.DefaultClient, "http://127.0.0.1:"+a.port+"/health")
}

// look tells what of the things the API needs is there.
func (a *api) look(ctx context.Context) (healthy bool, checks map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.looked) < lookEvery {
		return a.healthy, a.checks
	}
	ctx = context.WithoutCancel(ctx) // the next caller gets the same answer
	a.healthy, a.checks = true, map[string]string{}
	for name, err := range map[string]error{
		"data":     a.writable(),
		"database": a.database(),
		"hal":      get(ctx, http.DefaultClient, a.halURL+"/health"),
		"docker":   get(ctx, a.docker, "http://docker/_ping"),
	} {
		a.checks[name] = "ok"
		if err != nil {
			a.healthy, a.checks[name] = false, err.Error()
		}
	}
	a.looked = time.Now()
	return a.healthy, a.checks
}

func (a *api) writable() error {
	f, err := os.CreateTemp(a.dataDir, ".writable-*")
	if err != nil {
		return fmt.Errorf("writing to the data directory: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// database opens the database for writing and makes it if it is not there, as
// the real one does when it starts.
func (a *api) database() error {
	if err := os.MkdirAll(filepath.Dir(a.dbPath), 0o755); err != nil {
		return fmt.Errorf("making the database's directory: %w", err)
	}
	f, err := os.OpenFile(a.dbPath, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	return f.Close()
}
