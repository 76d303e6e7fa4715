package standin

import (
	"context"
	"net"
	"net/http"
)

// hal is the hardware abstraction layer; here it has no hardware.
type hal struct {
	host, port string
}

func newHAL(env func(string) string) (Service, error) {
	return &hal{host: or(env("HAL_HOST"), "0.0.0.0"), port: or(env("HAL_PORT"), "6005")}, nil
}

func (h *hal) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	health := func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "healthy", "service": "cubeos-hal"})
	}
	mux.HandleFunc("GET /health", health)
	mux.HandleFunc("GET /hal/health", health) // where its whole API is
	return serve(ctx, web{addr: net.JoinHostPort(h.host, h.port), handler: mux})
}

func (h *hal) Healthy(ctx context.Context) error {
	return get(ctx, http.DefaultClient, "http://"+net.JoinHostPort(dialable(h.host), h.port)+"/health")
}
