package pihole

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// domain is what dnsmasq is told of a domain and all names below it.
type domain struct {
	addrs   []netip.Addr // address=/DOMAIN/ADDRESS
	local   bool         // local=/DOMAIN/: never asked of a server
	servers []string     // server=/DOMAIN/ADDRESS
}

// lines is what the settings make of dnsmasq.
type lines struct {
	domains      map[string]*domain // fully qualified, lower case
	servers      []string           // for all other names
	noDHCP       []string           // interfaces
	dhcpOptions  []string
	staticLeases []string
}

func (l *lines) domain(name string) *domain {
	key := dns.CanonicalName(strings.TrimPrefix(strings.TrimPrefix(name, "*"), "."))
	if l.domains[key] == nil {
		l.domains[key] = &domain{}
	}
	return l.domains[key]
}

// parseLines reads what FTL writes into dnsmasq's configuration, and what the
// files that misc.etc_dnsmasq_d is about and misc.dnsmasq_lines add to it. An option of dnsmasq that the stand-in does
// not know is refused as one that dnsmasq does not know.
func parseLines(c *config) (*lines, error) {
	l := &lines{domains: map[string]*domain{}}
	for _, name := range []string{"pi.hole", "home.arpa", "internal", "test", "invalid", "bind", "onion"} {
		l.domain(name).local = true
	}
	l.domain("localhost").addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	if name := c.text("dns.domain.name"); name != "" && c.flag("dns.domain.local") {
		l.domain(name).local = true
	}
	for _, server := range c.list("dns.upstreams") {
		addr, err := parseServer(server)
		if err != nil {
			return nil, err
		}
		l.servers = append(l.servers, addr)
	}
	l.staticLeases = c.list("dhcp.hosts")
	if c.flag("misc.etc_dnsmasq_d") {
		if err := l.parseFiles(c.extra); err != nil {
			return nil, err
		}
	}
	return l, l.parseAll(c.list("misc.dnsmasq_lines"), "misc.dnsmasq_lines")
}

// parseFiles reads what dnsmasq takes of the directory, if there is one.
func (l *lines) parseFiles(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "[^.]*.conf"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", file, err)
		}
		if err := l.parseAll(strings.Split(string(data), "\n"), "/etc/dnsmasq.d/"+filepath.Base(file)); err != nil {
			return err
		}
	}
	return nil
}

func (l *lines) parseAll(all []string, source string) error {
	for at, line := range all {
		if err := l.parse(line); err != nil {
			return fmt.Errorf("%w at line %d of %s: %q", err, at+1, source, line)
		}
	}
	return nil
}

func (l *lines) parse(line string) error {
	line, _, _ = strings.Cut(line, "#")
	option, value, _ := strings.Cut(strings.TrimSpace(line), "=")
	option, value = strings.TrimSpace(option), strings.TrimSpace(value)
	switch option {
	case "":
	case "address":
		return l.address(value)
	case "local", "server":
		return l.server(value)
	case "no-dhcp-interface":
		l.noDHCP = append(l.noDHCP, strings.Split(value, ",")...)
	case "dhcp-option":
		l.dhcpOptions = append(l.dhcpOptions, value)
	case "dhcp-host":
		l.staticLeases = append(slices.Clone(l.staticLeases), value)
	default:
		return fmt.Errorf("bad option")
	}
	return nil
}

// address reads /DOMAIN[/DOMAIN…]/ADDRESS.
func (l *lines) address(value string) error {
	parts := strings.Split(value, "/")
	if len(parts) < 3 || parts[0] != "" {
		return fmt.Errorf("bad address")
	}
	addr, err := netip.ParseAddr(parts[len(parts)-1])
	if err != nil {
		return fmt.Errorf("bad address")
	}
	for _, name := range parts[1 : len(parts)-1] {
		d := l.domain(name)
		d.addrs = slices.Insert(d.addrs, 0, addr) // the last is answered first, and one that is there twice is twice
	}
	return nil
}

// server reads ADDRESS or /DOMAIN[/DOMAIN…]/[ADDRESS].
func (l *lines) server(value string) error {
	if !strings.HasPrefix(value, "/") {
		addr, err := parseServer(value)
		l.servers = append(l.servers, addr)
		return err
	}
	parts := strings.Split(value, "/")
	if len(parts) < 3 {
		return fmt.Errorf("bad address")
	}
	server := parts[len(parts)-1]
	for _, name := range parts[1 : len(parts)-1] {
		if server == "" {
			l.domain(name).local = true
			continue
		}
		addr, err := parseServer(server)
		if err != nil {
			return err
		}
		d := l.domain(name)
		d.servers = append(d.servers, addr)
	}
	return nil
}

// parseServer reads ADDRESS[#PORT].
func parseServer(value string) (string, error) {
	host, port, ok := strings.Cut(value, "#")
	if !ok {
		port = "53"
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return "", fmt.Errorf("bad address (%q)", value)
	}
	return net.JoinHostPort(host, port), nil
}
