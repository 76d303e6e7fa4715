// Package hal stands in for CubeOS's hardware abstraction layer, cubeos-app/hal.
// What it imitates, and where that was seen:
//
//   - HAL_HOST and HAL_PORT; /health, and everything else below /hal
//     (cmd/cubeos-hal/main.go, internal/handlers/routes.go)
//   - keys: HAL_ACL_KEYS, HAL_ACL_KEYS_FILE or /data/acl.json, roles, the paths
//     that need no key; without keys everybody may do everything
//     (internal/config/acl.go, internal/middleware/auth.go)
//   - units of systemd by D-Bus, from a list of those that are allowed; without
//     the bus's socket that fails (internal/handlers/system.go, validators.go)
//   - Pi-hole's container made again: by docker compose, which its image does not
//     have, so that it fails (system.go)
//   - the host's name: hostnamectl, which its image does not have, or else its own
//     container's /etc/hostname, so that it succeeds and changes nothing (system.go)
//   - what it says of the operating system: /host/etc/os-release, or else its own
//     image's (system.go)
//   - the firewall of the host's network: rules added to nat's POSTROUTING and the
//     whole chain flushed; ip_forward (internal/handlers/firewall.go)
//   - /etc/netplan/01-cubeos.yaml of the host, and netplan apply, whose failure is
//     not told (internal/handlers/network.go WriteNetplan)
//   - interfaces, and the clients of the access point from Pi-hole's leases
//     (network.go)
//
// The real one brings programs along; this one runs the host's: it needs the
// host's processes and all privileges, as the real one does. There is no hardware.
package hal

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// Options are for tests. The zero value is what the real service has.
type Options struct {
	Root  string                                                                 // the container's file system; empty is /
	Units func(ctx context.Context, verb, unit string) error                     // asks systemd
	Run   func(ctx context.Context, name string, args ...string) ([]byte, error) // runs a program of the host
}

// Service is HAL's container.
type Service struct {
	addr    string
	keys    keys
	options Options
}

// New takes the environment of the container. Keys that can not be read are no
// keys: then everybody may do everything.
func New(env service.Env, options Options) *Service {
	s := &Service{addr: net.JoinHostPort(env.Or("HAL_HOST", "0.0.0.0"), env.Or("HAL_PORT", "6005")), options: options}
	if options.Units == nil {
		s.options.Units = changeUnit
	}
	if options.Run == nil {
		s.options.Run = s.runOnHost
	}
	s.keys = readKeys(env, s.path(env.Or("HAL_ACL_KEYS_FILE", "/data/acl.json")))
	return s
}

func (s *Service) path(name string) string { return filepath.Join("/", s.options.Root, name) }

// host is where the host's file system is, by its first process.
func (s *Service) host(name string) string { return s.path(filepath.Join("/proc/1/root", name)) }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if len(s.keys) == 0 {
		log.Print("ACL: no keys configured, running in permissive mode")
	}
	return service.Serve(ctx, service.Listener{Addr: s.addr, Handler: s.handler()})
}

// Healthy returns an error if the running service is not.
func (s *Service) Healthy(ctx context.Context) error {
	return service.Probe(ctx, http.DefaultClient, "http://"+service.Local(s.addr)+"/health")
}

func (s *Service) handler() http.Handler {
	mux := http.NewServeMux()
	health := func(w http.ResponseWriter, _ *http.Request) {
		service.JSON(w, http.StatusOK, map[string]string{"status": "healthy", "service": "cubeos-hal"})
	}
	mux.HandleFunc("GET /health", health)
	mux.HandleFunc("GET /hal/health", health)
	mux.HandleFunc("GET /hal/system/os", s.operatingSystem)
	mux.HandleFunc("POST /hal/system/hostname", s.setHostname)
	mux.HandleFunc("POST /hal/system/service/{unit}/{verb}", s.unit)
	mux.HandleFunc("GET /hal/network/interfaces", s.interfaces)
	mux.HandleFunc("GET /hal/network/interface/{name}", s.oneInterface)
	mux.HandleFunc("POST /hal/network/interface/{name}/{state}", s.setInterface)
	mux.HandleFunc("POST /hal/network/ip/static", s.setAddress)
	mux.HandleFunc("POST /hal/network/netplan", s.writeNetplan)
	mux.HandleFunc("GET /hal/network/ap/clients", s.clients)
	mux.HandleFunc("GET /hal/firewall/nat/status", s.natStatus)
	mux.HandleFunc("POST /hal/firewall/nat/enable", s.enableNAT)
	mux.HandleFunc("POST /hal/firewall/nat/disable", s.disableNAT)
	mux.HandleFunc("GET /hal/firewall/forwarding", s.forwarding)
	mux.HandleFunc("POST /hal/firewall/forward/{state}", s.setForwarding)
	return s.keys.protect(mux)
}

func refuse(w http.ResponseWriter, status int, message string) {
	service.JSON(w, status, map[string]any{"error": message, "code": status})
}

func done(w http.ResponseWriter, message string) {
	service.JSON(w, http.StatusOK, map[string]any{"status": "ok", "message": message})
}

// read reads a request's JSON.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(into); err != nil {
		refuse(w, http.StatusBadRequest, "invalid request body")
		return false
	}
	return true
}
