package standin

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
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	probeTimeout = 5 * time.Second
	stopTimeout  = 3 * time.Second
)

// web is one listener and what answers on it.
type web struct {
	addr    string
	tls     *tls.Config
	handler http.Handler
}

// serve serves all of webs until ctx ends. It listens on all addresses before
// it serves on the first, so that a port in use stops the service.
func serve(ctx context.Context, webs ...web) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}()
	for _, w := range webs {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", w.addr)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		listeners = append(listeners, l)
		log.Printf("listening on %s", l.Addr())
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, w := range webs {
		srv := &http.Server{Handler: w.handler, ReadHeaderTimeout: 10 * time.Second, TLSConfig: w.tls}
		g.Go(func() error {
			var err error
			if w.tls != nil {
				err = srv.ServeTLS(listeners[i], "", "")
			} else {
				err = srv.Serve(listeners[i])
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

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Printf("answering: %v", err)
	}
}

func page(title, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title></head><body><h1>%s</h1><p>%s</p><p>This is a stand-in from the lab profile.</p></body></html>\n", title, title, body)
	}
}

// get returns an error unless url answers with status 200.
func get(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
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

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// dialable is where a service that listens on host can be asked.
func dialable(host string) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}
