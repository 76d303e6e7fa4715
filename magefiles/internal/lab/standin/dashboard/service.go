// Package dashboard stands in for CubeOS's web interface, cubeos-app/dashboard: an
// nginx with its files. What it imitates, and where that was seen
// (nginx.conf.template, Dockerfile):
//
//   - port 8087, whatever the image exposes
//   - / and every path that is no file is its page, whether the API is there or not
//   - /health and /api/ are the API's, at API_URL, which is
//     http://10.42.24.1:6010 unless it is set; /api/v1/docs/ is DOCS_URL's; both are
//     502 where that does not answer
//
// The page does nothing.
package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// Options are for tests. The zero value is what the real service has.
type Options struct {
	Addr string // empty is :8087
}

// Service is the Dashboard's container.
type Service struct {
	addr      string
	api, docs *url.URL
}

// New takes the environment of the container.
func New(env service.Env, options Options) (*Service, error) {
	s := &Service{addr: options.Addr}
	if s.addr == "" {
		s.addr = ":8087"
	}
	var problems []error
	for _, variable := range []struct {
		name, fallback string
		url            **url.URL
	}{{"API_URL", "http://10.42.24.1:6010", &s.api}, {"DOCS_URL", "http://10.42.24.1:6032", &s.docs}} {
		u, err := url.Parse(strings.TrimRight(env.Or(variable.name, variable.fallback), "/"))
		if err == nil && u.Host == "" {
			err = errors.New("it is no URL of a server")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s %q: %w", variable.name, env[variable.name], err))
		}
		*variable.url = u
	}
	return s, errors.Join(problems...)
}

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("/", service.Page("CubeOS Dashboard", "Dashboard"))
	mux.Handle("/health", service.Proxy(s.api))
	mux.Handle("/api/", service.Proxy(s.api))
	mux.Handle("/api/v1/docs/", service.Proxy(s.docs))
	return service.Serve(ctx, service.Listener{Addr: s.addr, Handler: mux})
}

// Healthy returns an error if the running service is not.
func (s *Service) Healthy(ctx context.Context) error {
	return service.Probe(ctx, http.DefaultClient, "http://"+service.Local(s.addr)+"/")
}
