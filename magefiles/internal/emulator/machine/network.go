package machine

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// request is how long the guest may take to answer one request.
const request = 20 * time.Second

// HTTP asks a forwarded port of the guest for a path and returns the status
// code. Redirects within the guest are not followed: a 3xx is the answer.
func (m *Machine) HTTP(ctx context.Context, scheme string, port int, path string) (int, error) {
	addr, err := m.Addr("tcp", port)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+path, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, // a connection must not outlive a reboot
			// A device that was just flashed can only have a certificate of its own.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking port %d of the guest for %s: %w", port, path, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return 0, fmt.Errorf("reading the answer of port %d of the guest: %w", port, err)
	}
	return resp.StatusCode, nil
}

// LookupA asks the guest's DNS server, by udp or tcp, for the IPv4 addresses of
// a name.
func (m *Machine) LookupA(ctx context.Context, proto, name string) ([]string, error) {
	addr, err := m.Addr(proto, 53)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(name), dns.TypeA)
	client := dns.Client{Net: proto, Timeout: request / 4}
	reply, _, err := client.ExchangeContext(ctx, query, addr)
	if err != nil {
		return nil, fmt.Errorf("asking the guest's DNS (%s) for %s: %w", proto, name, err)
	}
	if reply.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("asking the guest's DNS (%s) for %s: it answered %s", proto, name, dns.RcodeToString[reply.Rcode])
	}
	var found []string
	for _, rr := range reply.Answer {
		if a, ok := rr.(*dns.A); ok {
			found = append(found, a.A.String())
		}
	}
	return found, nil
}
