package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// pihole is Pi-hole as the names' owner. It learns a new password from
// secrets.env; what has to do with DHCP does not.
type pihole struct {
	service  *Service
	password string
}

// piholeLogIn returns a session of Pi-hole's.
func piholeLogIn(ctx context.Context, base, password string) (sid string, err error) {
	got, err := ask(ctx, &http.Client{Timeout: 5 * time.Second}, http.MethodPost, base+"/api/auth", nil, map[string]string{"password": password})
	if err != nil {
		return "", fmt.Errorf("pi-hole auth request failed: %w", err)
	}
	if got.status != http.StatusOK {
		return "", fmt.Errorf("pi-hole auth failed (HTTP %d): %s", got.status, strings.TrimSpace(string(got.body)))
	}
	var answer struct {
		Session struct {
			Valid bool   `json:"valid"`
			SID   string `json:"sid"`
		} `json:"session"`
	}
	if err := json.Unmarshal(got.body, &answer); err != nil {
		return "", fmt.Errorf("failed to parse Pi-hole auth response: %w", err)
	}
	if !answer.Session.Valid || answer.Session.SID == "" {
		return "", errors.New("pi-hole auth returned invalid session")
	}
	return answer.Session.SID, nil
}

func piholeRequest(ctx context.Context, method, url, sid string, body any) (answer, error) {
	return ask(ctx, &http.Client{Timeout: 5 * time.Second}, method, url, map[string]string{"X-FTL-SID": sid}, body)
}

func (p *pihole) url() string {
	return "http://" + net.JoinHostPort(p.service.neighbour(), p.service.env["PIHOLE_PORT"])
}

func (p *pihole) logIn(ctx context.Context) (string, error) {
	sid, err := piholeLogIn(ctx, p.url(), p.password)
	if err == nil || !strings.Contains(err.Error(), "password incorrect") {
		return sid, err
	}
	fresh := p.service.files.get(p.service.path(secretsFile), "CUBEOS_PIHOLE_PASSWORD")
	if fresh == "" || fresh == p.password {
		return "", err
	}
	p.password = fresh
	return piholeLogIn(ctx, p.url(), p.password)
}

// piholeConfig is what is read of Pi-hole's settings.
type piholeConfig struct {
	Config struct {
		DNS struct {
			Hosts []string `json:"hosts"`
		} `json:"dns"`
		DHCP struct {
			Active bool `json:"active"`
		} `json:"dhcp"`
	} `json:"config"`
}

// verifyName sees to it that the device's name is there.
func (p *pihole) verifyName(ctx context.Context) error {
	const name = "cubeos.cube"
	sid, err := p.logIn(ctx)
	if err != nil {
		return err
	}
	got, err := piholeRequest(ctx, http.MethodGet, p.url()+"/api/config/dns/hosts", sid, nil)
	if err != nil {
		return err
	}
	var c piholeConfig
	if err := json.Unmarshal(got.body, &c); err != nil || !got.good() {
		return fmt.Errorf("unexpected status %d reading DNS hosts (%w)", got.status, err)
	}
	if slices.ContainsFunc(c.Config.DNS.Hosts, func(record string) bool {
		fields := strings.Fields(record)
		return len(fields) > 1 && fields[1] == name
	}) {
		return nil
	}
	got, err = piholeRequest(ctx, http.MethodPut, p.url()+"/api/config/dns/hosts/"+url.PathEscape(p.service.env["GATEWAY_IP"]+" "+name), sid, nil)
	if err == nil && !got.good() {
		err = fmt.Errorf("failed to seed base DNS entry: unexpected status %d: %s", got.status, got.body)
	}
	return err
}

// dhcpURL is Pi-hole as what has to do with DHCP asks it: at this port, whatever
// PIHOLE_PORT is.
func (s *Service) dhcpURL() string {
	return s.env.Or("PIHOLE_URL", "http://"+net.JoinHostPort(s.neighbour(), "6001"))
}

func (s *Service) dhcpLogIn(ctx context.Context) (string, error) {
	return piholeLogIn(ctx, s.dhcpURL(), s.env.Or("PIHOLE_PASSWORD", "cubeos"))
}

func (s *Service) dhcpActive(ctx context.Context) (bool, error) {
	sid, err := s.dhcpLogIn(ctx)
	if err != nil {
		return false, fmt.Errorf("pi-hole auth failed: %w", err)
	}
	got, err := piholeRequest(ctx, http.MethodGet, s.dhcpURL()+"/api/config/dhcp/active", sid, nil)
	if err != nil {
		return false, fmt.Errorf("pi-hole DHCP query failed: %w", err)
	}
	if !got.good() {
		return false, fmt.Errorf("pi-hole DHCP query returned HTTP %d: %s", got.status, got.body)
	}
	var c piholeConfig
	err = json.Unmarshal(got.body, &c)
	return c.Config.DHCP.Active, err
}

// reconcileDHCP makes Pi-hole hand out addresses, or not, as the mode wants it.
func (s *Service) reconcileDHCP(ctx context.Context) error {
	mode := s.state.get().Mode
	expected := hasAccessPoint(mode)
	actual, err := s.dhcpActive(ctx)
	if err != nil {
		return fmt.Errorf("failed to read Pi-hole DHCP state: %w", err)
	}
	if actual == expected {
		return nil
	}
	s.configurePihole(ctx, mode)
	if actual, err = s.dhcpActive(ctx); err != nil {
		return fmt.Errorf("DHCP reconciliation verification failed: %w", err)
	}
	if actual != expected {
		return fmt.Errorf("DHCP reconciliation failed: expected=%t, actual=%t after correction", expected, actual)
	}
	return nil
}

// configurePihole sets what a mode wants of Pi-hole. Lines that were there are
// lost, and nobody is told of a failure.
func (s *Service) configurePihole(ctx context.Context, mode string) {
	lines := []string{"address=/cubeos.cube/" + s.env["GATEWAY_IP"]}
	switch mode {
	case wifiRouter, androidTether:
		lines = append(lines, "no-dhcp-interface=eth0")
	case wifiBridge:
		lines = append(lines, "no-dhcp-interface=wlan1")
	}
	if err := s.patchPihole(ctx, "/dhcp/active", map[string]any{"dhcp": map[string]any{"active": hasAccessPoint(mode)}}); err != nil {
		log.Printf("ERR failed to set DHCP active state: %v", err)
	}
	if err := s.patchPihole(ctx, "/misc/dnsmasq_lines", map[string]any{"misc": map[string]any{"dnsmasq_lines": lines}}); err != nil {
		log.Printf("ERR failed to set dnsmasq lines: %v", err)
	}
}

// patchPihole tries three times: Pi-hole is away for a moment after a change.
func (s *Service) patchPihole(ctx context.Context, path string, config map[string]any) error {
	var last error
	for attempt := range 3 {
		if err := s.options.Sleep(ctx, time.Duration(2*attempt)*time.Second); err != nil {
			return err
		}
		sid, err := s.dhcpLogIn(ctx)
		if err != nil {
			last = err
			continue
		}
		got, err := piholeRequest(ctx, http.MethodPatch, s.dhcpURL()+"/api/config"+path, sid, map[string]any{"config": config})
		if err == nil && got.good() {
			return nil
		}
		if last = err; err == nil {
			last = fmt.Errorf("HTTP %d: %s", got.status, strings.TrimSpace(string(got.body)))
		}
	}
	return last
}
