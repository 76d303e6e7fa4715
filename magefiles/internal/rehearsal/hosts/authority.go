// Package hosts imitates, over TLS on the loopback interface, the hosts that a
// release needs and a machine without the Internet does not reach: that of the base
// image, Docker's apt repository, a container registry. Each is as unfriendly as the
// real one can be.
package hosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// Authority is a certificate authority.
type Authority struct {
	PEM []byte // its certificate, for those who are to trust it

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// validity is longer than any release takes; clocks of devices begin at the build.
const validity = 7 * 24 * time.Hour

// OpenAuthority returns the authority that is kept in dir, or makes one and keeps it
// there: what trusts it can be used again.
func OpenAuthority(dir string) (*Authority, error) {
	path := filepath.Join(dir, "authority.key")
	if raw, err := os.ReadFile(path); err == nil {
		if a, err := parse(raw); err == nil && time.Until(a.certificate.NotAfter) > validity/2 {
			return a, nil
		}
	}
	a, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return a, renameio.WriteFile(path, append(a.PEM, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})...), 0o600)
}

func parse(raw []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(raw, raw)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key of the authority is of another kind")
	}
	return &Authority{
		PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Leaf.Raw}), certificate: pair.Leaf, key: key,
	}, nil
}

// NewAuthority makes an authority.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CubeOS rehearsal"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate authority: %w", err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	return &Authority{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), certificate: certificate, key: key}, nil
}

// server returns what a server on the loopback interface needs.
func (a *Authority) server() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: a.certificate.NotBefore, NotAfter: a.certificate.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("making a server's certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}, nil
}

// Pool is what a client that trusts the authority alone has.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}
