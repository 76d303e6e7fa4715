package pihole

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/miekg/dns"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

func TestBalloonIsNettles(t *testing.T) {
	for _, tt := range []struct {
		password, salt string
		space, rounds  int
		want           string
	}{
		{"hunter42", "examplesalt", 1024, 3, "716043dff777b44aa7b88dcbab12c078abecfac9d289c5b5195967aa63440dfb"},
		{"password", "salt", 3, 3, "a4df347f5a312e8b2b14c32164f61a81758c807f1bdcda44f4930e2b80ab2154"},
		{"password", "salt", 1, 1, "eefda4a8a75b461fa389c1dcfaf3e9dfacbc26f81f22e6f280d15cc18c417545"},
	} {
		if got := hex.EncodeToString(balloon(tt.password, []byte(tt.salt), tt.space, tt.rounds)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.password, got, tt.want)
		}
	}
}

func TestPasswordOfBothKindsOfHash(t *testing.T) {
	// printf %s "$(printf %s cubeos | sha256sum | cut -d' ' -f1)" | sha256sum
	const twice = "e957c2a1476d4f941ce057cad7981d781f66dbdf1857251b7cd6824c0218d056"
	if right, legacy := verify("cubeos", twice); !right || !legacy {
		t.Error("a hash of Pi-hole 5 is not taken")
	}
	hashed := hash("cubeos")
	if right, legacy := verify("cubeos", hashed); !right || legacy {
		t.Errorf("%s is not the password's", hashed)
	}
	if right, _ := verify("Cubeos", hashed); right {
		t.Error("a wrong password is right")
	}
}

// container is a file system for a Pi-hole, with its settings and a database.
func container(t *testing.T, settings string) standintest.Root {
	t.Helper()
	return standintest.NewRoot(t, map[string]string{"etc/pihole/pihole.toml": settings, "etc/pihole/gravity.db": "SQLite format 3\x00"})
}

func configured(t *testing.T, env service.Env, settings string) (*config, string) {
	t.Helper()
	root := container(t, settings)
	c, err := New(env, Options{Root: root.Dir}).configure()
	if err != nil {
		t.Fatal(err)
	}
	return c, root.Path("etc/pihole/pihole.toml")
}

func TestSettingsComeFromTheFileAndTheEnvironmentOverIt(t *testing.T) {
	const seed = `
[dns]
  upstreams = ["9.9.9.9"]
  hosts = ["10.42.24.1 cubeos.cube"]
[dns.domain]
  name = "cubeos.cube"
[dhcp]
  active = true
  start = "10.42.24.10"
[webserver]
  port = "80"
[webserver.api]
  password = "ignored"
`
	c, path := configured(t, service.Env{"FTLCONF_WEBSERVER_port": "6001", "FTLCONF_dns_cnameRecords": "a,b;c,d", "FTLCONF_dns_blockTTL": "many"}, seed)
	if got, want := c.text("webserver.port"), "6001"; got != want {
		t.Errorf("webserver.port is %s, want the environment's %s", got, want)
	}
	if got, want := c.number("dns.blockTTL"), int64(2); got != want {
		t.Errorf("an unreadable number is %d, want the default %d", got, want)
	}
	if diff := cmp.Diff([]string{"a,b", "c,d"}, c.list("dns.cnameRecords")); diff != "" {
		t.Error(diff)
	}
	if !c.flag("dhcp.active") || c.text("dns.domain.name") != "cubeos.cube" || c.forced["dhcp.active"] {
		t.Errorf("the file's settings are not taken: %v", c.values)
	}
	if right, _ := verify("ignored", c.text("webserver.api.pwhash")); right {
		t.Error("webserver.api.password is read from the file")
	}

	again, err := load(path, service.Env{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"webserver.port":       "80o,443os,[::]:80o,[::]:443os", // it was forced, and is not any more
		"dns.cnameRecords":     []string{},
		"dns.upstreams":        []string{"9.9.9.9"},
		"dhcp.start":           "10.42.24.10",
		"webserver.api.pwhash": c.text("webserver.api.pwhash"),
	} {
		if diff := cmp.Diff(want, again.values[key]); diff != "" {
			t.Errorf("%s after the variables are gone:\n%s", key, diff)
		}
	}
}

func TestBrokenFileIsPutAside(t *testing.T) {
	c, path := configured(t, service.Env{}, "[dhcp\nactive = true\n")
	if c.flag("dhcp.active") {
		t.Error("a broken file is read")
	}
	if got, err := os.ReadFile(path + ".broken"); err != nil || string(got) != "[dhcp\nactive = true\n" {
		t.Errorf("the broken file holds %q (%v)", got, err)
	}
}

func TestPasswordIsWhatIsGivenOrRandom(t *testing.T) {
	seeded := legacyHash("seeded")
	for name, tt := range map[string]struct {
		env      service.Env
		settings string
		want     string
	}{
		"environment": {service.Env{"FTLCONF_webserver_api_password": "given"}, "", "given"},
		"seeded":      {service.Env{}, "[webserver.api]\npwhash = \"" + seeded + "\"\n", "seeded"},
		"both":        {service.Env{"FTLCONF_webserver_api_password": "given"}, "[webserver.api]\npwhash = \"" + seeded + "\"\n", "given"},
	} {
		c, _ := configured(t, tt.env, tt.settings)
		if right, _ := verify(tt.want, c.text("webserver.api.pwhash")); !right {
			t.Errorf("%s: the password is not %s", name, tt.want)
		}
	}
	if c, _ := configured(t, service.Env{}, ""); c.text("webserver.api.pwhash") == "" {
		t.Error("without a password there is none at all")
	}
}

// started runs a Pi-hole, and returns the address of its DNS.
func started(t *testing.T, root standintest.Root, env service.Env, options Options) (dnsAddr string, s *Service) {
	t.Helper()
	addrs := standintest.Addrs(t, 2)
	env["FTLCONF_dns_port"], env["FTLCONF_webserver_port"] = standintest.Port(t, addrs[0]), addrs[1]
	options.Root = root.Dir
	s = New(env, options)
	standintest.Start(t, s)
	return addrs[0], s
}

func TestGravityKeepsFTLWaitingWithoutANameServer(t *testing.T) {
	root := container(t, "")
	database := root.Path("etc/pihole/gravity.db")
	if err := os.Remove(database); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	var early error
	var s *Service
	_, s = started(t, root, service.Env{}, Options{
		ResolverPatience: time.Millisecond,
		LookupHost: func(ctx context.Context, name string) ([]string, error) {
			if asked.Add(1) == 1+gravityTries {
				early = s.Healthy(ctx)
			}
			return nil, &net.DNSError{Err: "no such host", Name: name}
		},
	})
	standintest.Eventually(t, "FTL answers after gravity has given up", func() error { return s.Healthy(t.Context()) })
	if got, want := asked.Load(), int32(1+gravityTries); got != want {
		t.Errorf("gravity asked %d times, want %d", got, want)
	}
	if early == nil {
		t.Error("FTL answered while gravity ran")
	}
	if _, err := os.Stat(database); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a database: %v", err)
	}
}

func TestGravityIsNotRunWhereThereIsADatabase(t *testing.T) {
	_, s := started(t, container(t, ""), service.Env{}, Options{
		LookupHost: func(context.Context, string) ([]string, error) {
			t.Error("gravity asked for a name")
			return nil, errors.New("unexpected")
		},
	})
	standintest.Eventually(t, "FTL answers", func() error { return s.Healthy(t.Context()) })
}

func TestSettingsAreReadAgainWhenTheFileChanges(t *testing.T) {
	root := container(t, "[dns]\nhosts = [\"192.0.2.1 a.example\"]\n")
	addr, s := started(t, root, service.Env{}, Options{})
	standintest.Eventually(t, "FTL answers", func() error { return s.Healthy(t.Context()) })
	const path = "etc/pihole/pihole.toml"
	root.Write(path, strings.Replace(root.Read(path), "192.0.2.1 a.example", "192.0.2.2 a.example", 1))
	standintest.Eventually(t, "the new address is answered", func() error {
		got, err := dns.Exchange(new(dns.Msg).SetQuestion("a.example.", dns.TypeA), addr)
		if err != nil {
			return err
		}
		if len(got.Answer) != 1 || !strings.HasSuffix(got.Answer[0].String(), "192.0.2.2") {
			return fmt.Errorf("got %v", got.Answer)
		}
		return nil
	})
}

func TestNamesAreAnsweredOrForwarded(t *testing.T) {
	upstream := fakeUpstream(t)
	const known = `
[dns]
  upstreams = ["%s"]
  hosts = ["10.42.24.1 cubeos.cube", "192.0.2.7 other.example"]
%s
[misc]
  dnsmasq_lines = ["address=/cubeos.cube/10.42.24.1", "no-dhcp-interface=eth0"]
`
	open, _ := configured(t, service.Env{}, fmt.Sprintf(known, upstream, ""))
	local, _ := configured(t, service.Env{}, fmt.Sprintf(known, upstream, "[dns.domain]\n  name = \"cubeos.cube\"\n"))
	for _, tt := range []struct {
		name        string
		qtype       uint16
		open, local string
	}{
		{"cubeos.cube.", dns.TypeA, "10.42.24.1", "10.42.24.1"},
		{"Any.CubeOS.cube.", dns.TypeA, "10.42.24.1", "10.42.24.1"},
		{"cubeos.cube.", dns.TypeAAAA, "upstream", "NODATA"},
		{"any.cubeos.cube.", dns.TypeHTTPS, "upstream", "NODATA"},
		{"notcubeos.cube.", dns.TypeA, "upstream", "upstream"},
		{"other.example.", dns.TypeA, "192.0.2.7", "192.0.2.7"},
		{"other.example.", dns.TypeAAAA, "upstream", "upstream"},
		{"printer.lan.", dns.TypeA, "NXDOMAIN", "upstream"},
		{"pi.hole.", dns.TypeAAAA, "NODATA", "NODATA"},
		{"localhost.", dns.TypeA, "127.0.0.1", "127.0.0.1"},
		{"1.24.42.10.in-addr.arpa.", dns.TypePTR, "cubeos.cube.", "cubeos.cube."},
		{"9.24.42.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN", "NXDOMAIN"},
	} {
		for c, want := range map[*config]string{open: tt.open, local: tt.local} {
			lines, err := parseLines(c)
			if err != nil {
				t.Fatal(err)
			}
			reply := parseNames(c, lines, nil).answer(t.Context(), new(dns.Msg).SetQuestion(tt.name, tt.qtype), "udp")
			if got := outcome(reply); got != want {
				t.Errorf("%s %s with dns.domain.name %s: got %s, want %s", dns.TypeToString[tt.qtype], tt.name, c.text("dns.domain.name"), got, want)
			}
		}
	}
}

// outcome is a reply in a word.
func outcome(reply *dns.Msg) string {
	switch {
	case reply == nil:
		return "silence"
	case reply.Rcode != dns.RcodeSuccess:
		return dns.RcodeToString[reply.Rcode]
	case len(reply.Answer) == 0:
		return "NODATA"
	}
	switch rr := reply.Answer[0].(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.PTR:
		return rr.Ptr
	case *dns.TXT:
		return rr.Txt[0]
	}
	return reply.Answer[0].String()
}

// fakeUpstream answers every question with a text, and returns its address as
// a setting has it.
func fakeUpstream(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		reply.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"upstream"}}}
		if err := w.WriteMsg(reply); err != nil {
			t.Error(err)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- srv.ActivateAndServe() }()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return strings.Replace(conn.LocalAddr().String(), ":", "#", 1)
}

func TestSilentUpstreamIsSilence(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, _ := configured(t, service.Env{}, "[dns]\nupstreams = [\""+strings.Replace(silent.LocalAddr().String(), ":", "#", 1)+"\"]\n")
	lines, err := parseLines(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // when the question has arrived there, nothing more will happen
		if _, _, err := silent.ReadFrom(make([]byte, 512)); err != nil {
			t.Error(err)
		}
		cancel()
	}()
	if got := outcome(parseNames(c, lines, nil).answer(ctx, new(dns.Msg).SetQuestion("example.org.", dns.TypeA), "udp")); got != "silence" {
		t.Errorf("got %s", got)
	}
}

func TestWithoutAnUpstreamQuestionsAreRefused(t *testing.T) {
	c, _ := configured(t, service.Env{}, "")
	c.values["dns.upstreams"] = []string{}
	lines, err := parseLines(c)
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(parseNames(c, lines, nil).answer(t.Context(), new(dns.Msg).SetQuestion("example.org.", dns.TypeA), "udp")); got != "REFUSED" {
		t.Errorf("got %s", got)
	}
}

func TestLineThatDnsmasqDoesNotKnowIsRefused(t *testing.T) {
	c, _ := configured(t, service.Env{}, "")
	for line, good := range map[string]bool{
		"local=/cubeos.cube/":              true,
		"server=/example.org/192.0.2.1":    true,
		"address=/cubeos.cube":             false,
		"addresses=/cubeos.cube/192.0.2.1": false,
		"address=/cubeos.cube/10.42.24.1":  true,
	} {
		c.values["misc.dnsmasq_lines"] = []string{line}
		if err := c.check(); (err == nil) != good {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestFilesOfDnsmasqAreReadWhereTheyAreAskedFor(t *testing.T) {
	root := container(t, fmt.Sprintf(`
[dns]
  upstreams = ["%s"]
[misc]
  dnsmasq_lines = ["address=/cubeos.cube/192.0.2.2"]
`, fakeUpstream(t)))
	root.Write("etc/dnsmasq.d/device.conf", "# what holds\nlocal=/cubeos.cube/\naddress=/cubeos.cube/192.0.2.1\n")
	root.Write("etc/dnsmasq.d/device.conf.old", "addresses=/cubeos.cube/192.0.2.3\n")
	ask := func(wanted string, qtype uint16) string {
		t.Helper()
		c, err := New(service.Env{"FTLCONF_misc_etc_dnsmasq_d": wanted}, Options{Root: root.Dir}).configure()
		if err != nil {
			t.Fatal(err)
		}
		lines, err := parseLines(c)
		if err != nil {
			return err.Error()
		}
		reply := parseNames(c, lines, nil).answer(t.Context(), new(dns.Msg).SetQuestion("any.cubeos.cube.", qtype), "udp")
		return fmt.Sprint(outcome(reply), " of ", len(reply.Answer))
	}
	for _, tt := range []struct {
		wanted string
		qtype  uint16
		want   string
	}{
		{"false", dns.TypeA, "192.0.2.2 of 1"},
		{"false", dns.TypeAAAA, "upstream of 1"},
		{"true", dns.TypeA, "192.0.2.2 of 2"},
		{"true", dns.TypeAAAA, "NODATA of 0"},
	} {
		if got := ask(tt.wanted, tt.qtype); got != tt.want {
			t.Errorf("files read: %s, %s: got %s, want %s", tt.wanted, dns.TypeToString[tt.qtype], got, tt.want)
		}
	}
	root.Write("etc/dnsmasq.d/wrong.conf", "\nconf-dir=/etc\n")
	if got, want := ask("true", dns.TypeA), `bad option at line 2 of /etc/dnsmasq.d/wrong.conf: "conf-dir=/etc"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDHCPHandsOutTheRange(t *testing.T) {
	c, path := configured(t, service.Env{}, `
[dns.domain]
  name = "cubeos.cube"
[dhcp]
  active = true
  start = "10.42.24.10"
  end = "10.42.24.11"
  router = "10.42.24.1"
  leaseTime = "12h"
  hosts = ["02:00:00:00:00:09,10.42.24.99"]
`)
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	lines, err := parseLines(c)
	if err != nil {
		t.Fatal(err)
	}
	leases, err := openLeases(filepath.Join(filepath.Dir(path), "dhcp.leases"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDHCP(c, lines, leases)
	if err != nil {
		t.Fatal(err)
	}
	network, now := netip.MustParsePrefix("10.42.24.1/24"), time.Unix(1_700_000_000, 0)
	ask := func(mac string) string {
		t.Helper()
		hardware, err := net.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		discover, err := dhcpv4.NewDiscovery(hardware, dhcpv4.WithOption(dhcpv4.OptHostName("phone")))
		if err != nil {
			t.Fatal(err)
		}
		offer, err := d.answer(discover, network, now)
		if err != nil {
			return err.Error()
		}
		request, err := dhcpv4.NewRequestFromOffer(offer, dhcpv4.WithOption(dhcpv4.OptHostName("phone")))
		if err != nil {
			t.Fatal(err)
		}
		ack, err := d.answer(request, network, now)
		if err != nil {
			t.Fatal(err)
		}
		if ack.MessageType() != dhcpv4.MessageTypeAck || ack.IPAddressLeaseTime(0) != 12*time.Hour ||
			!ack.Router()[0].Equal(net.IP{10, 42, 24, 1}) || !ack.DNS()[0].Equal(net.IP{10, 42, 24, 1}) ||
			net.IP(ack.SubnetMask()).String() != "255.255.255.0" || ack.DomainName() != "cubeos.cube" {
			t.Errorf("the answer is %s", ack.Summary())
		}
		return ack.YourIPAddr.String()
	}
	for _, tt := range []struct{ mac, want string }{
		{"02:00:00:00:00:01", "10.42.24.10"},
		{"02:00:00:00:00:01", "10.42.24.10"},
		{"02:00:00:00:00:02", "10.42.24.11"},
		{"02:00:00:00:00:03", "no address available"},
		{"02:00:00:00:00:09", "10.42.24.99"},
	} {
		if got := ask(tt.mac); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.mac, got, tt.want)
		}
	}
	now = now.Add(13 * time.Hour)
	if got := ask("02:00:00:00:00:03"); got != "10.42.24.10" {
		t.Errorf("after the leases are over: got %s", got)
	}
	again, err := openLeases(leases.path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(leases.all(now), again.all(now), cmp.Comparer(func(a, b lease) bool { return a == b })); diff != "" {
		t.Errorf("what dhcp.leases holds:\n%s", diff)
	}
	if got := outcome(parseNames(c, lines, again.all(now)).answer(t.Context(), new(dns.Msg).SetQuestion("phone.cubeos.cube.", dns.TypeA), "udp")); got != "10.42.24.10" {
		t.Errorf("the client's name: got %s", got)
	}
}
