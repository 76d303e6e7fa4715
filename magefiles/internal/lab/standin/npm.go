package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// npm is Nginx Proxy Manager. Its proxy hosts are those a set up device has;
// the real one is told them by its API.
type npm struct {
	admin, http, https string // ports
	hosts              map[string]string
}

// The variables are this stand-in's own, for tests: the real ports are fixed.
func newNPM(env func(string) string) *npm {
	hosts := or(env("STANDIN_NPM_HOSTS"), "cubeos.cube=6011 api.cubeos.cube=6010 pihole.cubeos.cube=6001 npm.cubeos.cube=81")
	n := &npm{
		admin: or(env("STANDIN_NPM_ADMIN"), "81"),
		http:  or(env("STANDIN_NPM_HTTP"), "80"),
		https: or(env("STANDIN_NPM_HTTPS"), "443"),
		hosts: map[string]string{},
	}
	for _, h := range strings.Fields(hosts) {
		if host, port, ok := strings.Cut(h, "="); ok {
			n.hosts[host] = port
		}
	}
	return n
}

func (n *npm) run(ctx context.Context) error {
	certificate, err := selfSigned()
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	admin := http.NewServeMux()
	admin.HandleFunc("GET /api/{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{
			"status":  "OK",
			"setup":   true,
			"version": map[string]int{"major": 2, "minor": 14, "revision": 0},
		})
	})
	admin.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]any{"error": map[string]any{"code": 404, "message": "Not Found"}})
	})
	admin.Handle("/", page("Nginx Proxy Manager", "Administration"))
	hosts := n.proxy()
	return serve(ctx,
		web{addr: net.JoinHostPort("", n.admin), handler: admin},
		web{addr: net.JoinHostPort("", n.http), handler: hosts},
		web{addr: net.JoinHostPort("", n.https), handler: hosts, tls: &tls.Config{Certificates: []tls.Certificate{certificate}}},
	)
}

func (n *npm) check(ctx context.Context) error {
	return get(ctx, http.DefaultClient, "http://127.0.0.1:"+n.admin+"/api/")
}

// proxy answers by host name; a name that is not known gets the default page.
func (n *npm) proxy() http.Handler {
	proxies := map[string]http.Handler{}
	for host, port := range n.hosts {
		proxies[host] = proxyTo(&url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", port)})
	}
	fallback := page("Congratulations!", "You have started the Nginx Proxy Manager, but this host is not set up yet.")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := strings.ToLower(r.Host)
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if p, ok := proxies[host]; ok {
			p.ServeHTTP(w, r)
			return
		}
		fallback(w, r)
	})
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "cubeos.cube"},
		DNSNames:     []string{"cubeos.cube", "*.cubeos.cube"},
		// A device without a clock starts in the past.
		NotBefore:   time.Unix(0, 0),
		NotAfter:    time.Now().AddDate(10, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
