package pihole

import (
	"context"
	"errors"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	localTTL    = 2                // seconds
	forgetAfter = 40 * time.Second // a question that no upstream has answered
)

// names answers DNS questions as FTL does with the same settings.
type names struct {
	hosts     map[string][]netip.Addr // exact names, fully qualified, lower case
	lines     *lines
	bogusPriv bool
}

// parseNames makes names of the settings and of the leases' names.
func parseNames(c *config, l *lines, leases []lease) *names {
	n := &names{hosts: map[string][]netip.Addr{}, lines: l, bogusPriv: c.flag("dns.bogusPriv")}
	add := func(name string, addr netip.Addr) {
		key := dns.CanonicalName(name)
		n.hosts[key] = append(n.hosts[key], addr)
	}
	add("pi.hole", netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	for _, record := range c.list("dns.hosts") {
		addr, hosts, err := parseHost(record)
		if err != nil {
			continue // it was reported when it was read
		}
		for _, host := range hosts {
			add(host, addr)
		}
	}
	for _, lease := range leases {
		if lease.name != "" {
			add(lease.name, lease.addr)
			if domain := c.text("dns.domain.name"); domain != "" {
				add(lease.name+"."+domain, lease.addr)
			}
		}
	}
	return n
}

// answer answers one question, or returns nil where FTL stays silent: when no
// upstream answers.
func (n *names) answer(ctx context.Context, q *dns.Msg, network string) *dns.Msg {
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	if q.Opcode != dns.OpcodeQuery || len(q.Question) != 1 {
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	}
	question := q.Question[0]
	name := dns.CanonicalName(question.Name)
	if rrs, ok := n.local(question, name); ok {
		reply.Authoritative, reply.Answer = true, rrs
		return reply
	}
	if question.Qtype == dns.TypePTR && n.bogusPriv && isPrivateReverse(name) {
		reply.Rcode = dns.RcodeNameError
		return reply
	}
	servers, decided := n.byDomain(question, name, reply)
	if decided {
		return reply
	}
	if got := forward(ctx, q, servers, network); got != nil || ctx.Err() != nil {
		return got
	} else if len(servers) > 0 && network == "udp" && reachable(servers) {
		return nil
	}
	reply.Rcode = dns.RcodeRefused
	return reply
}

// byDomain answers by what is said of the name's domains, or returns the servers
// that are to be asked.
func (n *names) byDomain(question dns.Question, name string, reply *dns.Msg) (servers []string, decided bool) {
	for _, at := range dns.Split(name) { // the longest domain first
		d := n.lines.domains[name[at:]]
		if d == nil {
			continue
		}
		if rrs := records(question, d.addrs); len(rrs) > 0 {
			reply.Authoritative, reply.Answer = true, rrs
			return nil, true
		}
		if d.local {
			if !n.known(name) {
				reply.Rcode = dns.RcodeNameError
			}
			return nil, true
		}
		if len(d.servers) > 0 {
			return d.servers, false
		}
	}
	return n.lines.servers, false
}

// local answers with records of the hosts, if there is one of the type that is
// asked for. A name that has only records of other types is not answered here.
func (n *names) local(question dns.Question, name string) ([]dns.RR, bool) {
	if question.Qtype == dns.TypePTR {
		for host, addrs := range n.hosts {
			for _, addr := range addrs {
				if reverse, err := dns.ReverseAddr(addr.String()); err == nil && reverse == name {
					header := dns.RR_Header{Name: question.Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: localTTL}
					return []dns.RR{&dns.PTR{Hdr: header, Ptr: host}}, true
				}
			}
		}
		return nil, false
	}
	rrs := records(question, n.hosts[name])
	return rrs, len(rrs) > 0
}

// known tells whether a name has any record here.
func (n *names) known(name string) bool {
	if len(n.hosts[name]) > 0 {
		return true
	}
	for _, at := range dns.Split(name) {
		if d := n.lines.domains[name[at:]]; d != nil && len(d.addrs) > 0 {
			return true
		}
	}
	return false
}

func records(question dns.Question, addrs []netip.Addr) []dns.RR {
	var rrs []dns.RR
	for _, addr := range addrs {
		header := dns.RR_Header{Name: question.Name, Class: dns.ClassINET, Ttl: localTTL}
		switch {
		case question.Qtype == dns.TypeA && addr.Is4():
			header.Rrtype = dns.TypeA
			rrs = append(rrs, &dns.A{Hdr: header, A: addr.AsSlice()})
		case question.Qtype == dns.TypeAAAA && addr.Is6():
			header.Rrtype = dns.TypeAAAA
			rrs = append(rrs, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
	}
	return rrs
}

func isPrivateReverse(name string) bool {
	labels := dns.SplitDomainName(name)
	if len(labels) != 6 || labels[4] != "in-addr" || labels[5] != "arpa" {
		return false
	}
	addr, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
	return err == nil && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast())
}

// reachable tells whether there is a route to any of the servers.
func reachable(servers []string) bool {
	for _, server := range servers {
		if conn, err := net.Dial("udp", server); err == nil {
			_ = conn.Close() // nothing was sent
			return true
		}
	}
	return false
}

// forward asks all servers and returns the first answer, or nil.
func forward(ctx context.Context, q *dns.Msg, servers []string, network string) *dns.Msg {
	ctx, cancel := context.WithTimeout(ctx, forgetAfter)
	defer cancel()
	answers := make(chan *dns.Msg, len(servers))
	for _, server := range servers {
		go func() {
			got, _, err := (&dns.Client{Net: network, Timeout: forgetAfter}).ExchangeContext(ctx, q, server)
			if err != nil {
				got = nil
			}
			answers <- got
		}()
	}
	for range servers {
		select {
		case got := <-answers:
			if got != nil {
				return got
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// serveDNS answers on addr until ctx ends.
func serveDNS(ctx context.Context, addr string, answer func(context.Context, *dns.Msg, string) *dns.Msg) error {
	udp, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return err
	}
	defer udp.Close()
	tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer tcp.Close()
	g, ctx := errgroup.WithContext(ctx)
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := answer(ctx, q, w.LocalAddr().Network())
		if reply == nil {
			return
		}
		if err := w.WriteMsg(reply); err != nil && ctx.Err() == nil {
			log.Printf("answering %s: %v", w.RemoteAddr(), err)
		}
	})
	for _, srv := range []*dns.Server{{PacketConn: udp, Handler: handler}, {Listener: tcp, Handler: handler}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		g.Go(srv.ActivateAndServe)
		g.Go(func() error {
			<-started // Shutdown knows nothing of a server before that
			<-ctx.Done()
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := srv.ShutdownContext(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil
		})
	}
	return g.Wait()
}
