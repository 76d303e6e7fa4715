// Package npm stands in for Nginx Proxy Manager 2.14.0. What it imitates, and
// where that was seen:
//
//   - /data and /etc/letsencrypt have to be mounted (docker/rootfs/etc/s6-overlay/
//     s6-rc.d/prepare/20-paths.sh)
//   - nginx's resolver, written at the start from /etc/resolv.conf: without a name
//     server there, nginx ends with [emerg] and is started again and again, ports
//     80, 81 and 443 stay closed, the backend runs on (prepare/40-dynamic.sh)
//   - the backend: port 3000 on every address, after the IP ranges were fetched,
//     unless IP_RANGES_FETCH_ENABLED is false (backend/index.js)
//   - the first administrator, from INITIAL_ADMIN_EMAIL and
//     INITIAL_ADMIN_PASSWORD only (backend/setup.js)
//   - nginx on port 81: /api/ is the backend's, 502 while that does not listen; on
//     port 443: no host without a certificate
//     (docker/rootfs/etc/nginx/conf.d/production.conf, default.conf)
//   - /tokens, /users, /users/N/auth, /nginx/proxy-hosts with their schemas, which
//     refuse unknown properties, and their errors (backend/schema, backend/routes,
//     backend/internal, backend/lib/error.js, access.js)
//   - a proxy host that nginx rejects: 201, and meta.nginx_online false from then on
//     (backend/internal/nginx.js)
//   - the health of the image: 81/api/ says OK (docker/rootfs/usr/bin/check-health)
//
// It has no certificates, access lists, locations, streams, redirections, audit
// log and 2FA, and of nginx's directives it knows only those in nginx.go.
package npm

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// Options are for tests. The zero value is what the real service has.
type Options struct {
	Root                        string // the container's file system; empty is /
	Admin, HTTP, HTTPS, Backend string // addresses; empty is :81, :80, :443, :3000
	// FetchRanges fetches the IP ranges of those who run proxies in front of
	// proxies.
	FetchRanges func(ctx context.Context) error
}

// Service is Nginx Proxy Manager's container.
type Service struct {
	env     service.Env
	options Options
}

// New takes the environment of the container.
func New(env service.Env, options Options) *Service {
	for addr, usual := range map[*string]string{&options.Admin: ":81", &options.HTTP: ":80", &options.HTTPS: ":443", &options.Backend: ":3000"} {
		if *addr == "" {
			*addr = usual
		}
	}
	if options.FetchRanges == nil {
		options.FetchRanges = reachRanges
	}
	return &Service{env: env, options: options}
}

func (s *Service) path(name string) string { return filepath.Join("/", s.options.Root, name) }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if err := s.mounted(); err != nil {
		return err
	}
	resolvers, err := nameServers(s.path("/etc/resolv.conf"))
	if err != nil {
		return err
	}
	store, err := openStore(s.path("/data"))
	if err != nil {
		return err
	}
	nginx := &nginx{options: s.options, resolvers: resolvers, store: store}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return nginx.run(ctx) })
	g.Go(func() error {
		if email, password := s.env["INITIAL_ADMIN_EMAIL"], s.env["INITIAL_ADMIN_PASSWORD"]; email != "" && password != "" && !store.isSetUp() {
			log.Printf("Creating a new user: %s with password: %s", email, password)
			if err := store.setUp(email, password); err != nil {
				return err
			}
		}
		if s.env["IP_RANGES_FETCH_ENABLED"] == "false" {
			log.Print("IP Ranges fetch is disabled by environment variable")
		} else if err := s.options.FetchRanges(ctx); err != nil {
			log.Printf("IP Ranges fetch failed, continuing anyway: %v", err)
		}
		return service.Serve(ctx, service.Listener{Addr: s.options.Backend, Handler: newBackend(store, nginx)})
	})
	return g.Wait()
}

// Healthy returns an error if the running service is not.
func (s *Service) Healthy(ctx context.Context) error {
	return service.Probe(ctx, http.DefaultClient, "http://"+service.Local(s.options.Admin)+"/api/")
}

func (s *Service) mounted() error {
	var problems []error
	for _, dir := range []string{"/data", "/etc/letsencrypt"} {
		if info, err := os.Stat(s.path(dir)); err != nil || !info.IsDir() {
			problems = append(problems, fmt.Errorf("%s is not mounted: check the volumes of the container", dir))
		}
	}
	return errors.Join(problems...)
}

// nameServers reads resolv.conf, which Docker makes when it starts a container.
func nameServers(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the name servers: %w", err)
	}
	var servers []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "nameserver" {
			servers = append(servers, fields[1])
		}
	}
	return servers, nil
}

// reachRanges goes as far as the connection to the first of those whom the real
// backend asks. It has no patience of its own, either: what a silent name server
// or a silent network takes, the backend waits.
func reachRanges(ctx context.Context) error {
	began := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", "ip-ranges.amazonaws.com:443")
	log.Printf("IP Ranges: asking took %s", time.Since(began).Round(time.Second))
	if err != nil {
		return err
	}
	return conn.Close()
}
