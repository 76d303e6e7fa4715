package standin

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	upstreamTimeout = 2 * time.Second
	localTTL        = 2          // seconds; what FTL gives to names of its own
	ownName         = "pi.hole." // always known, upstreams or not
)

// names answers DNS questions as FTL does with the same settings.
type names struct {
	hosts     map[string][]netip.Addr // exact names, fully qualified, lower case
	wildcards map[string][]netip.Addr // dnsmasq's address=: a domain and all under it
	upstreams []string
}

// parseNames reads the settings that decide how names are answered. An array's
// items are separated by semicolons or newlines.
func parseNames(env func(string) string) (*names, error) {
	n := &names{
		hosts:     map[string][]netip.Addr{ownName: {netip.AddrFrom4([4]byte{127, 0, 0, 1})}},
		wildcards: map[string][]netip.Addr{},
	}
	var problems []error
	for _, item := range list(env("FTLCONF_dns_hosts")) {
		fields := strings.Fields(item)
		addr, err := netip.ParseAddr(fields[0])
		if err != nil || len(fields) < 2 {
			problems = append(problems, fmt.Errorf("FTLCONF_dns_hosts: want `ADDRESS NAME …`, got %q", item))
			continue
		}
		for _, host := range fields[1:] {
			key := dns.CanonicalName(host)
			n.hosts[key] = append(n.hosts[key], addr)
		}
	}
	for _, line := range list(env("FTLCONF_misc_dnsmasq_lines")) {
		setting, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(setting) != "address" {
			continue // settings of dnsmasq that have nothing to do with names
		}
		parts := strings.Split(strings.TrimSpace(value), "/")
		addr, err := netip.ParseAddr(parts[len(parts)-1])
		if len(parts) < 3 || parts[0] != "" || err != nil {
			problems = append(problems, fmt.Errorf("FTLCONF_misc_dnsmasq_lines: want address=/DOMAIN/ADDRESS, got %q", line))
			continue
		}
		for _, domain := range parts[1 : len(parts)-1] {
			key := dns.CanonicalName(strings.TrimPrefix(domain, "."))
			n.wildcards[key] = append(n.wildcards[key], addr)
		}
	}
	for _, up := range list(env("FTLCONF_dns_upstreams")) {
		host, port, ok := strings.Cut(up, "#")
		if !ok {
			port = "53"
		}
		if _, err := netip.ParseAddr(host); err != nil {
			problems = append(problems, fmt.Errorf("FTLCONF_dns_upstreams: %q is no ADDRESS or ADDRESS#PORT", up))
			continue
		}
		n.upstreams = append(n.upstreams, net.JoinHostPort(host, port))
	}
	return n, errors.Join(problems...)
}

func list(setting string) []string {
	var items []string
	for _, item := range strings.FieldsFunc(setting, func(r rune) bool { return r == ';' || r == '\n' }) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// ServeDNS answers one question.
func (n *names) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	answer := n.answer(context.Background(), r, w.LocalAddr().Network() == "udp")
	if err := w.WriteMsg(answer); err != nil {
		log.Printf("answering %s: %v", w.RemoteAddr(), err)
	}
}

func (n *names) answer(ctx context.Context, r *dns.Msg, udp bool) *dns.Msg {
	reply := new(dns.Msg).SetReply(r)
	reply.RecursionAvailable = true
	if r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 {
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	}
	q := r.Question[0]
	addrs, known := n.lookup(q.Name)
	if !known {
		return n.forward(ctx, r, reply, udp)
	}
	reply.Authoritative = true
	for _, addr := range addrs {
		header := dns.RR_Header{Name: q.Name, Class: dns.ClassINET, Ttl: localTTL}
		switch {
		case q.Qtype == dns.TypeA && addr.Is4():
			header.Rrtype = dns.TypeA
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
		case q.Qtype == dns.TypeAAAA && addr.Is6():
			header.Rrtype = dns.TypeAAAA
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
	}
	return reply
}

// lookup returns the addresses of a name of this device. A name without one
// of the asked type is known all the same: it has no data, and is not forwarded.
func (n *names) lookup(name string) (addrs []netip.Addr, known bool) {
	name = dns.CanonicalName(name)
	if addrs, known = n.hosts[name]; known {
		return addrs, true
	}
	for _, at := range dns.Split(name) { // the longest domain first
		if addrs, known = n.wildcards[name[at:]]; known {
			return addrs, true
		}
	}
	return nil, false
}

// forward asks the upstreams one after the other.
func (n *names) forward(ctx context.Context, r, reply *dns.Msg, udp bool) *dns.Msg {
	reply.Rcode = dns.RcodeRefused
	for _, upstream := range n.upstreams {
		reply.Rcode = dns.RcodeServerFailure
		network := "tcp"
		if udp {
			network = "udp"
		}
		got, _, err := (&dns.Client{Net: network, Timeout: upstreamTimeout}).ExchangeContext(ctx, r, upstream)
		if err == nil {
			return got
		}
		log.Printf("asking %s for %s: %v", upstream, r.Question[0].Name, err)
	}
	return reply
}
