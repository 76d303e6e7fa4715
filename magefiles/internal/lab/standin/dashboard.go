package standin

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// dashboard is the web interface; it hands /api/ on to the API.
type dashboard struct {
	port string
	api  *url.URL
}

func newDashboard(env func(string) string) (Service, error) {
	api, err := url.Parse(strings.TrimRight(or(env("API_URL"), "http://10.42.24.1:6010"), "/"))
	if err != nil {
		return nil, fmt.Errorf("API_URL: %w", err)
	}
	if api.Host == "" {
		return nil, fmt.Errorf("API_URL has to be the URL of the API, not %q", env("API_URL"))
	}
	return &dashboard{port: or(env("DASHBOARD_PORT"), "8087"), api: api}, nil
}

func (d *dashboard) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page("CubeOS", "Dashboard"))
	mux.Handle("/api/", proxyTo(d.api))
	// Whether the dashboard reaches the API, with the API's own answer.
	mux.HandleFunc("GET /api-status", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path, r.URL.RawPath = "/health", ""
		proxyTo(d.api).ServeHTTP(w, r)
	})
	return serve(ctx, web{addr: net.JoinHostPort("", d.port), handler: mux})
}

func (d *dashboard) Healthy(ctx context.Context) error {
	return get(ctx, http.DefaultClient, "http://127.0.0.1:"+d.port+"/")
}

func proxyTo(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			log.Printf("%s %s: %v", r.Host, r.URL.Path, err)
			http.Error(w, fmt.Sprintf("%s does not answer: %v", target, err), http.StatusBadGateway)
		},
	}
}
