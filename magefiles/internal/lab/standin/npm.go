package standin

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
	"strconv"
	"time"
)

// npm is Nginx Proxy Manager 2: its administration API, as far as proxy hosts
// go, and the proxy itself. Like the real one it comes without a proxy host and
// keeps those it is told of in its data directory.
type npm struct {
	admin, http, https string // ports
	email, password    string // of the first administrator
	dataDir            string
}

// The variables with STANDIN in their names are for tests: the real ports and
// the real directory are fixed.
func newNPM(env func(string) string) (Service, error) {
	return &npm{
		admin:    or(env("STANDIN_NPM_ADMIN"), "81"),
		http:     or(env("STANDIN_NPM_HTTP"), "80"),
		https:    or(env("STANDIN_NPM_HTTPS"), "443"),
		dataDir:  or(env("STANDIN_NPM_DATA"), "/data"),
		email:    env("INITIAL_ADMIN_EMAIL"),
		password: env("INITIAL_ADMIN_PASSWORD"),
	}, nil
}

func (n *npm) Run(ctx context.Context) error {
	certificate, err := selfSigned()
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	store, err := openStore(n.dataDir)
	if err != nil {
		return err
	}
	if err := store.setUp(n.email, n.password); err != nil {
		return err
	}
	admin := http.NewServeMux()
	admin.Handle("/api/", http.StripPrefix("/api", newNPMAPI(store)))
	admin.Handle("/", page("Nginx Proxy Manager", "Administration"))
	hosts := proxyHosts(store)
	return serve(ctx,
		web{addr: net.JoinHostPort("", n.admin), handler: admin},
		web{addr: net.JoinHostPort("", n.http), handler: hosts},
		web{addr: net.JoinHostPort("", n.https), handler: hosts, tls: &tls.Config{Certificates: []tls.Certificate{certificate}}},
	)
}

func (n *npm) Healthy(ctx context.Context) error {
	return get(ctx, http.DefaultClient, "http://127.0.0.1:"+n.admin+"/api/")
}

// proxyHosts answers by host name; a name that is not known gets the default page.
func proxyHosts(store *npmStore) http.Handler {
	fallback := page("Congratulations!", "You have started the Nginx Proxy Manager, but this host is not set up yet.")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.Host
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		host, ok := store.serving(name)
		if !ok {
			fallback(w, r)
			return
		}
		w.Header().Set("X-Served-By", name)
		proxyTo(&url.URL{Scheme: host.ForwardScheme, Host: net.JoinHostPort(host.ForwardHost, strconv.Itoa(host.ForwardPort))}).ServeHTTP(w, r)
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
