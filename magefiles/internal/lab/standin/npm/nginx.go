package npm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// nginx is the proxy itself, and the way to the backend.
type nginx struct {
	options   Options
	resolvers []string
	store     *store
	running   atomic.Bool
}

// run starts nginx, and starts it again when it ends, as s6 does.
func (n *nginx) run(ctx context.Context) error {
	for {
		log.Print("Starting nginx ...")
		if err := n.serve(ctx); err != nil && ctx.Err() == nil {
			log.Printf("nginx: [emerg] %v", err)
		}
		n.running.Store(false)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func (n *nginx) serve(ctx context.Context) error {
	if err := n.test(); err != nil {
		return err
	}
	n.running.Store(true)
	return service.Serve(ctx,
		service.Listener{Addr: n.options.Admin, Handler: n.admin()},
		service.Listener{Addr: n.options.HTTP, Handler: n.hosts()},
		// No host has a certificate here, and without one nginx rejects the
		// handshake.
		service.Listener{Addr: n.options.HTTPS, Handler: http.NotFoundHandler(), TLS: &tls.Config{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("unrecognized name") },
		}},
	)
}

func (n *nginx) admin() http.Handler {
	mux := http.NewServeMux()
	backend := service.Proxy(&url.URL{Scheme: "http", Host: service.Local(n.options.Backend)})
	mux.Handle("/api", http.RedirectHandler("/api/", http.StatusFound))
	mux.Handle("/api/", http.StripPrefix("/api", backend))
	mux.Handle("/", service.Page("Nginx Proxy Manager", "Administration"))
	return mux
}

// hosts answers by host name; a name that is not known gets the default page.
func (n *nginx) hosts() http.Handler {
	fallback := service.Page("Congratulations!", "You have started the Nginx Proxy Manager, but this host is not set up yet.")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		host, ok := n.store.serving(name)
		if !ok {
			fallback(w, r)
			return
		}
		w.Header().Set("X-Served-By", name)
		service.Proxy(&url.URL{Scheme: host.ForwardScheme, Host: net.JoinHostPort(host.ForwardHost, strconv.Itoa(host.ForwardPort))}).ServeHTTP(w, r)
	})
}

// test is `nginx -t`, the configurations of proxy hosts excepted: those that are
// wrong are taken away.
func (n *nginx) test() error {
	if len(n.resolvers) == 0 {
		return errors.New("no name servers defined in /etc/nginx/conf.d/include/resolvers.conf:1")
	}
	return nil
}

// reload is `nginx -s reload`.
func (n *nginx) reload() error {
	if err := n.test(); err != nil {
		return err
	}
	if !n.running.Load() {
		return errors.New(`invalid PID number "" in "/run/nginx/nginx.pid"`)
	}
	return nil
}

// directives are those that may stand in a server block and that people write
// into a proxy host.
func directives() []string {
	return []string{
		"add_header", "client_body_timeout", "client_max_body_size", "gzip", "keepalive_timeout", "limit_rate", "proxy_buffering",
		"proxy_buffer_size", "proxy_buffers", "proxy_connect_timeout", "proxy_hide_header", "proxy_http_version",
		"proxy_read_timeout", "proxy_redirect", "proxy_request_buffering", "proxy_send_timeout", "proxy_set_header",
		"return", "rewrite", "send_timeout", "set",
	}
}

var comment = regexp.MustCompile(`(?m)#.*$`)

// conf is where the configuration of a proxy host would be.
func conf(id int) string { return fmt.Sprintf("/data/nginx/proxy_host/%d.conf", id) }

// accepts returns nginx's error if it rejects the configuration of a host.
func accepts(h proxyHost) error {
	rest := strings.TrimSpace(comment.ReplaceAllString(h.AdvancedConfig, ""))
	for rest != "" {
		directive, after, ended := strings.Cut(rest, ";")
		name, _, _ := strings.Cut(strings.TrimSpace(directive), " ")
		switch {
		case name != "" && !slices.Contains(directives(), name):
			return fmt.Errorf("nginx: [emerg] unknown directive %q in %s:%d", name, conf(h.ID), confLine)
		case strings.ContainsAny(directive, "{}"):
			return fmt.Errorf(`nginx: [emerg] unexpected "}" in %s:%d`, conf(h.ID), confLine)
		case !ended:
			return fmt.Errorf("nginx: [emerg] unexpected end of file, expecting \";\" or \"}\" in %s:%d", conf(h.ID), confLine)
		}
		rest = strings.TrimSpace(after)
	}
	return nil
}

// confLine is where the advanced configuration stands in the template.
const confLine = 40

// configure tests a host with nginx and tells it of the host. It returns what
// becomes of the host's meta, or the error that leaves the host as it is.
func (n *nginx) configure(h proxyHost) (map[string]any, error) {
	if err := n.test(); err != nil {
		return nil, err
	}
	meta := map[string]any{}
	maps.Copy(meta, h.Meta)
	meta["nginx_online"], meta["nginx_err"] = true, nil
	rejected := accepts(h)
	if rejected != nil {
		meta["nginx_online"], meta["nginx_err"] = false, rejected.Error()
	}
	if err := n.write(h, rejected == nil); err != nil {
		return nil, err
	}
	return meta, n.reload()
}

// write leaves the configuration where nginx would find it.
func (n *nginx) write(h proxyHost, good bool) error {
	path := n.store.path(conf(h.ID))
	if !h.Enabled {
		return n.remove(h)
	}
	if !good {
		path += ".err"
	}
	text := fmt.Sprintf("server {\n  set $forward_scheme %s;\n  set $server \"%s\";\n  set $port %d;\n  listen 80;\n  server_name %s;\n%s\n}\n",
		h.ForwardScheme, h.ForwardHost, h.ForwardPort, strings.Join(h.DomainNames, " "), h.AdvancedConfig)
	if err := n.remove(h); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing a proxy host's configuration: %w", err)
	}
	return nil
}

func (n *nginx) remove(h proxyHost) error {
	for _, suffix := range []string{"", ".err"} {
		if err := os.Remove(n.store.path(conf(h.ID)) + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing a proxy host's configuration: %w", err)
		}
	}
	return nil
}
