// Package api stands in for CubeOS's API, cubeos-app/api at commit 7413b486. What
// it imitates, and where that was seen:
//
//   - the settings: /cubeos/config/defaults.env has to be there, secrets.env may
//     be; the container's environment goes before both; what it does not start
//     without (internal/config/config.go)
//   - the order of its start, with the calls to Docker, Nginx Proxy Manager and
//     Pi-hole: without an account of its own at the proxy it listens a minute later
//     (cmd/cubeos-api/main.go, internal/managers/npm.go)
//   - ten proxy hosts that lead to GATEWAY_IP (npm.go GetCoreProxyRules)
//   - a health that is good whatever is wrong (internal/handlers/handlers.go)
//   - accounts, log-in and tokens, admin/cubeos at first (handlers.go,
//     internal/middleware/auth.go)
//   - nothing but the wizard before the wizard is done: 428
//     (internal/handlers/setup.go SetupRequiredMiddleware)
//   - the wizard: status, defaults, validate, apply, skip, complete, reset,
//     ap-teardown and ethernet-status, without a log-in, with all that apply writes
//     and asks for, its three attempts, what it undoes when one fails, and that a
//     power cut is such a failure (internal/handlers/setup.go,
//     internal/managers/setup.go, internal/flowengine)
//   - passwords handed on to Pi-hole and to the proxy manager, in the background
//     (internal/managers/pihole_sync.go, npm_sync.go)
//   - files of variables written in place, line by line, with the values as they
//     are (setup.go appendOrUpdateEnvFile, npm_sync.go updateEnvFileEntry)
//   - the network mode: what it asks of HAL and of Pi-hole, in which order, and
//     what it keeps; the access point's settings (internal/managers/network.go,
//     internal/flowengine/activities/network.go)
//
// Its database is a file of JSON, not of SQLite. It has no apps, no stores, no
// backups, no VPN, no Wi-Fi as an uplink, and no access profiles but the standard
// one.
package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/joho/godotenv"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// Options are for tests. The zero value is what the real service has.
type Options struct {
	Root  string                                           // the container's file system; empty is /
	Sleep func(ctx context.Context, d time.Duration) error // waits between attempts
	Cost  int                                              // of a password's hash, as bcrypt counts it; 0 is 12
}

// Service is the API's container.
type Service struct {
	env     service.Env // with what the files of variables add
	options Options
	started time.Time

	files  variableFiles
	state  *store
	docker *docker
	hal    *hal
	npm    *npm
	pihole *pihole
}

// New takes the environment of the container. It reads the files of variables
// and refuses what the real one refuses to start with.
func New(env service.Env, options Options) (*Service, error) {
	if options.Sleep == nil {
		options.Sleep = sleep
	}
	if options.Cost == 0 {
		options.Cost = 12
	}
	s := &Service{env: maps.Clone(env), options: options, started: time.Now()}
	if err := s.readVariables(); err != nil {
		return nil, err
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	s.docker = newDocker(s.env)
	s.hal = &hal{url: s.env.Or("HAL_URL", "http://cubeos-hal:6005"), key: s.env.Or("HAL_API_KEY", s.env["HAL_CORE_KEY"]), recreateKey: s.env["HAL_KEY"]}
	s.npm = &npm{service: s, url: "http://" + net.JoinHostPort(s.neighbour(), s.env["NPM_PORT"])}
	s.pihole = &pihole{service: s, password: s.env["CUBEOS_PIHOLE_PASSWORD"]}
	return s, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (s *Service) path(name string) string { return filepath.Join("/", s.options.Root, name) }

// hostRoot is where the host's file system is mounted.
func (s *Service) hostRoot(name string) string {
	return s.path(filepath.Join(s.env.Or("CUBEOS_HOST_ROOT", "/host-root"), name))
}

const (
	defaultsFile = "/cubeos/config/defaults.env"
	secretsFile  = "/cubeos/config/secrets.env" //nolint:gosec // where they are kept
)

func (s *Service) readVariables() error {
	defaults, err := godotenv.Read(s.path(defaultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configuration file %s not found, CubeOS cannot start", defaultsFile)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", defaultsFile, err)
	}
	secrets, err := godotenv.Read(s.path(secretsFile))
	if err != nil {
		log.Printf("WRN could not load secrets: %v", err)
	}
	for _, file := range []map[string]string{defaults, secrets} {
		for name, value := range file {
			if _, set := s.env[name]; !set {
				s.env[name] = value
			}
		}
	}
	return nil
}

// required are the variables that the API does not start without, and whether
// they are numbers.
func required() map[string]bool {
	return map[string]bool{"API_PORT": true, "DATABASE_PATH": false, "GATEWAY_IP": false, "DOMAIN": false, "DASHBOARD_PORT": true, "NPM_PORT": true, "PIHOLE_PORT": true}
}

func (s *Service) validate() error {
	var problems []error
	for name, number := range required() {
		value := s.env[name]
		if value == "" {
			problems = append(problems, fmt.Errorf("required environment variable %s not set, check %s", name, defaultsFile))
		} else if port, err := strconv.Atoi(value); number && (err != nil || port < 1 || port > 65535) {
			problems = append(problems, fmt.Errorf("environment variable %s must be a port, not %q", name, value))
		}
	}
	if _, err := netip.ParseAddr(s.env["GATEWAY_IP"]); s.env["GATEWAY_IP"] != "" && err != nil {
		problems = append(problems, fmt.Errorf("GATEWAY_IP: %w", err))
	}
	for _, dir := range []string{s.dataDir(), filepath.Dir(s.path(s.env["DATABASE_PATH"]))} {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			problems = append(problems, fmt.Errorf("%s is no directory", dir))
		}
	}
	return errors.Join(problems...)
}

func (s *Service) dataDir() string { return s.path(s.env.Or("CUBEOS_DATA_DIR", "/cubeos/data")) }

// neighbour is the host that the other services are asked at.
func (s *Service) neighbour() string { return s.env.Or("DOCKER_HOST_GW", s.env["GATEWAY_IP"]) }

func (s *Service) addr() string {
	return net.JoinHostPort(s.env.Or("API_HOST", "0.0.0.0"), s.env["API_PORT"])
}

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	log.Printf("INF starting CubeOS API version=%s", s.env.Or("CUBEOS_VERSION", "dev"))
	var err error
	if s.state, err = openStore(s.path(s.env["DATABASE_PATH"]), s.env["CUBEOS_NETWORK_MODE"], s.options.Cost); err != nil {
		return err
	}
	if err := s.markSetUp(); err != nil {
		return err
	}
	if err := s.docker.ping(ctx); err != nil {
		log.Printf("WRN failed to connect to Docker: %v", err)
	}
	if err := s.npm.start(ctx); err != nil {
		return err
	}
	if err := s.docker.ping(ctx); err != nil {
		return fmt.Errorf("FlowEngine: Orchestrator is required for app activities: %w", err)
	}
	if err := s.docker.services(ctx); err != nil {
		log.Printf("WRN syncing apps: %v", err)
	}
	go s.syncPasswordsAgain(ctx)
	if err := s.recoverSetup(ctx); err != nil {
		return err
	}
	if err := s.reconcileDHCP(ctx); err != nil {
		log.Printf("WRN DHCP reconciliation failed (non-fatal): %v", err)
	}
	return service.Serve(ctx, service.Listener{Addr: s.addr(), Handler: s.handler(ctx)})
}

// Healthy returns an error if the running service is not.
func (s *Service) Healthy(ctx context.Context) error {
	return service.Probe(ctx, http.DefaultClient, "http://"+service.Local(s.addr())+"/health")
}

// handler takes the context that lives as long as the service: what runs in the
// background goes on after the request that began it.
func (s *Service) handler(ctx context.Context) http.Handler {
	open := http.NewServeMux()
	open.HandleFunc("GET /health", s.health)
	open.HandleFunc("POST /api/v1/auth/login", s.logIn)
	open.Handle("/api/v1/setup/", s.wizard(ctx))

	closed := http.NewServeMux()
	closed.HandleFunc("GET /api/v1/auth/me", s.me)
	closed.HandleFunc("POST /api/v1/auth/refresh", s.refresh)
	closed.HandleFunc("POST /api/v1/auth/logout", s.logOut)
	closed.HandleFunc("POST /api/v1/auth/password", s.changePassword(ctx))
	closed.HandleFunc("GET /api/v1/network/mode", s.getMode)
	closed.HandleFunc("POST /api/v1/network/mode", s.setMode)
	closed.HandleFunc("GET /api/v1/network/ap/config", s.getAccessPoint)
	closed.HandleFunc("PUT /api/v1/network/ap/config", s.setAccessPoint)
	closed.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "404 page not found", http.StatusNotFound) })
	open.Handle("/", s.authenticated(closed))

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The real one forgets a request after a minute.
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		free := r.URL.Path == "/health" || r.URL.Path == "/api/v1/auth/login" || strings.HasPrefix(r.URL.Path, "/api/v1/setup")
		if !free && !s.state.get().Setup.Complete {
			service.JSON(w, http.StatusPreconditionRequired, map[string]any{"error": "Setup required", "setup_required": true, "redirect": "/setup"})
			return
		}
		open.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s *Service) health(w http.ResponseWriter, _ *http.Request) {
	service.JSON(w, http.StatusOK, map[string]any{
		"status": "healthy", "version": s.env.Or("CUBEOS_VERSION", "dev"), "timestamp": time.Now(), "uptime_seconds": time.Since(s.started).Seconds(),
	})
}

func refuse(w http.ResponseWriter, status int, message string) {
	service.JSON(w, status, map[string]any{"error": message, "code": status})
}
