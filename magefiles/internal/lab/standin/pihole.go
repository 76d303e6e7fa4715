package standin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

// pihole is Pi-hole v6: its web interface and its DNS server, without lists to
// block and without DHCP.
type pihole struct {
	webPorts []string
	dnsPort  string
	names    *names
}

func newPihole(env func(string) string) (Service, error) {
	p := &pihole{dnsPort: or(env("FTLCONF_dns_port"), "53")}
	var problems []error
	for spec := range strings.SplitSeq(or(env("FTLCONF_webserver_port"), "6001"), ",") {
		port, ok := parseWebPort(spec)
		if !ok {
			problems = append(problems, fmt.Errorf("FTLCONF_webserver_port: %q is not understood", spec))
		} else if port != "" {
			p.webPorts = append(p.webPorts, port)
		}
	}
	if len(p.webPorts) == 0 && len(problems) == 0 {
		problems = append(problems, errors.New("FTLCONF_webserver_port names no port for http"))
	}
	var err error
	p.names, err = parseNames(env)
	return p, errors.Join(append(problems, err)...)
}

// parseWebPort reads one of webserver.port's items, such as 6001, [::]:80o or
// 443os. TLS is not served: such a port is skipped.
func parseWebPort(spec string) (port string, ok bool) {
	spec = strings.TrimSpace(spec)
	at := strings.LastIndex(spec, ":") + 1
	port = strings.TrimRight(spec[at:], "osr")
	if port == "" || strings.Trim(port, "0123456789") != "" {
		return "", false
	}
	if flags := spec[at+len(port):]; strings.Contains(flags, "s") || strings.HasPrefix(spec, "[") {
		return "", true // one of IPv6 is served by the same listener
	}
	return port, true
}

func (p *pihole) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /admin/", page("Pi-hole", "Administration"))
	var webs []web
	for _, port := range p.webPorts {
		webs = append(webs, web{addr: net.JoinHostPort("", port), handler: mux})
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, webs...) })
	g.Go(func() error { return p.serveDNS(ctx) })
	return g.Wait()
}

func (p *pihole) serveDNS(ctx context.Context) error {
	addr := net.JoinHostPort("", p.dnsPort)
	udp, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return fmt.Errorf("listening for DNS: %w", err)
	}
	defer udp.Close()
	tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening for DNS: %w", err)
	}
	defer tcp.Close()
	g, ctx := errgroup.WithContext(ctx)
	for _, srv := range []*dns.Server{{PacketConn: udp, Handler: p.names}, {Listener: tcp, Handler: p.names}} {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		g.Go(srv.ActivateAndServe)
		g.Go(func() error {
			select {
			case <-started: // Shutdown knows nothing of a server before that
			case <-ctx.Done():
				<-started
			}
			<-ctx.Done()
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			return srv.ShutdownContext(stopping)
		})
	}
	return g.Wait()
}

func (p *pihole) Healthy(ctx context.Context) error {
	if err := get(ctx, http.DefaultClient, "http://127.0.0.1:"+p.webPorts[0]+"/admin/"); err != nil {
		return err
	}
	question := new(dns.Msg).SetQuestion(ownName, dns.TypeA)
	if _, _, err := new(dns.Client).ExchangeContext(ctx, question, net.JoinHostPort("127.0.0.1", p.dnsPort)); err != nil {
		return fmt.Errorf("asking its DNS: %w", err)
	}
	return nil
}
