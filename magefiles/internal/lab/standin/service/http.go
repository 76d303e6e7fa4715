package service

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
)

// ProbeTimeout is how long a health check waits for an answer.
const ProbeTimeout = 5 * time.Second

const stopTimeout = time.Second

// Listener is an address and what answers there.
type Listener struct {
	Addr    string
	TLS     *tls.Config
	Handler http.Handler
}

// Serve serves all of listeners until ctx ends. It listens on every address
// before it serves on the first, so that a port in use stops the service.
func Serve(ctx context.Context, listeners ...Listener) error {
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close() // again, where it was served
		}
	}()
	for _, listener := range listeners {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listener.Addr)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		open = append(open, l)
		log.Printf("listening on %s", l.Addr())
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, listener := range listeners {
		srv := &http.Server{Handler: listener.Handler, ReadHeaderTimeout: 10 * time.Second, TLSConfig: listener.TLS}
		g.Go(func() error {
			var err error
			if listener.TLS != nil {
				err = srv.ServeTLS(open[i], "", "")
			} else {
				err = srv.Serve(open[i])
			}
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return err
		})
		g.Go(func() error {
			<-ctx.Done()
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			if err := srv.Shutdown(stopping); err != nil {
				return srv.Close()
			}
			return nil
		})
	}
	return g.Wait()
}

// Local is an address of this machine at which a listener is asked.
func Local(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Printf("answering: %v", err)
	}
}

// Page answers with a page of HTML.
func Page(title, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title></head><body><h1>%s</h1><p>%s</p><p>This is a stand-in from the lab profile.</p></body></html>\n", title, title, body)
	}
}

// Proxy hands requests on to target, and answers 502 where that does not.
func Proxy(target *url.URL) http.Handler {
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

// Probe returns an error unless url answers with status 200 in time.
func Probe(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, ProbeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return fmt.Errorf("reading %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
