package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// answer is what another service has answered.
type answer struct {
	status int
	body   []byte
}

func (a answer) good() bool { return a.status >= 200 && a.status < 300 }

// ask makes a request of another service, with body as JSON unless it is nil.
func ask(ctx context.Context, client *http.Client, method, url string, header map[string]string, body any) (answer, error) {
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{resp.StatusCode, read}, err
}

// docker is the daemon, by its socket.
type docker struct{ client *http.Client }

func newDocker(env service.Env) *docker {
	socket := strings.TrimPrefix(env.Or("DOCKER_HOST", "unix:///var/run/docker.sock"), "unix://")
	return &docker{&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
}

func (d *docker) ping(ctx context.Context) error { return d.get(ctx, "/_ping") }

// services asks for Swarm's.
func (d *docker) services(ctx context.Context) error { return d.get(ctx, "/services") }

func (d *docker) get(ctx context.Context, path string) error {
	got, err := ask(ctx, d.client, http.MethodGet, "http://docker"+path, nil, nil)
	if err == nil && !got.good() {
		err = fmt.Errorf("GET %s answered %d: %s", path, got.status, got.body)
	}
	return err
}

// hal is the hardware abstraction layer.
type hal struct {
	url, key    string
	recreateKey string // of the one request that is made in another way
}

func (h *hal) request(ctx context.Context, method, path, key string, body any) (answer, error) {
	header := map[string]string{}
	if key != "" {
		header["X-HAL-Key"] = key
	}
	got, err := ask(ctx, &http.Client{Timeout: 30 * time.Second}, method, h.url+path, header, body)
	if err == nil && got.status >= 400 {
		err = fmt.Errorf("HAL %s answered %d: %s", path, got.status, bytes.TrimSpace(got.body))
	}
	return got, err
}

func (h *hal) post(ctx context.Context, path string, body any) error {
	_, err := h.request(ctx, http.MethodPost, path, h.key, body)
	return err
}

// networkInterface is what the API reads of HAL's answer about one.
type networkInterface struct {
	IsUp          bool     `json:"is_up"`
	IPv4Addresses []string `json:"ipv4_addresses"`
}

func (h *hal) networkInterface(ctx context.Context, name string) (networkInterface, error) {
	var i networkInterface
	got, err := h.request(ctx, http.MethodGet, "/network/interface/"+name, h.key, nil)
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(got.body, &i)
}

// hostapd starts, stops or restarts the access point.
func (h *hal) hostapd(ctx context.Context, verb string) error {
	return h.post(ctx, "/system/service/hostapd/"+verb, nil)
}

func (h *hal) recreatePihole(ctx context.Context) error {
	_, err := h.request(ctx, http.MethodPost, "/system/service/pihole/recreate", h.recreateKey, nil)
	return err
}
