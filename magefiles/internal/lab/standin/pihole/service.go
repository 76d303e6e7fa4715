// Package pihole stands in for Pi-hole 6: docker-pi-hole 2025.11.1 with FTL 6.4.1
// and the scripts of pi-hole 6.2.2. What it imitates, and where that was seen:
//
//   - the order of the start: settings, gravity, FTL
//     (docker-pi-hole src/start.sh, src/bash_functions.sh)
//   - gravity without a database and without a name server: 450 s before FTL,
//     and no database after that (pi-hole gravity.sh)
//   - the settings of FTL, their names, types and defaults; the environment over
//     /etc/pihole/pihole.toml; what was forced and is not any more goes back to
//     its default (FTL src/config/config.c, env.c, toml_reader.c, toml_writer.c)
//   - the password: from the environment, from a secret's file, from the hash in
//     pihole.toml, or a random one (bash_functions.sh setup_web_password;
//     FTL src/config/password.c)
//   - /api/auth with sessions, its limits of log-ins and of sessions
//     (FTL src/api/auth.c)
//   - /api/config: GET, PATCH, PUT and DELETE, items that the environment locks,
//     and the restart of FTL after a change (FTL src/api/config.c)
//   - /api/dhcp/leases, /api/info/login, /api/action/restartdns
//   - /admin/, which redirects to the log-in (FTL src/webserver/lua_web.c)
//   - names: dns.hosts, dns.domain, address=, local= and server= lines, also those
//     of /etc/dnsmasq.d/*.conf if misc.etc_dnsmasq_d is true; questions of other types than those known go upstream unless the domain is local; no
//     upstream reachable is REFUSED, one that is silent is silence
//     (FTL src/config/dnsmasq_config.c, src/dnsmasq/domain-match.c, forward.c)
//   - DHCP for IPv4 with dhcp.*, no-dhcp-interface= and dhcp.leases; it needs
//     NET_ADMIN
//
// It blocks nothing, has no statistics, no IPv6 leases, no TLS, no 2FA, and of
// dnsmasq's options it takes only those that are named in lines.go.
package pihole

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// watchEvery is how often the settings' file is looked at. FTL is told by the
// kernel; a second later is soon enough.
const watchEvery = time.Second

// Options are for tests. The zero value is what the real service has.
type Options struct {
	Root             string        // the container's file system; empty is /
	ResolverPatience time.Duration // how long gravity waits for a name, the first time and each time after
	LookupHost       func(ctx context.Context, name string) ([]string, error)
	DHCPAddr         string      // empty is :67
	NetAdmin         func() bool // whether the network may be changed, as DHCP needs it; nil asks the kernel
}

// Service is Pi-hole's container.
type Service struct {
	env      service.Env
	options  Options
	sessions *sessions
}

// New takes the environment of the container.
func New(env service.Env, options Options) *Service {
	if options.NetAdmin == nil {
		options.NetAdmin = netAdmin
	}
	return &Service{env: env, options: options, sessions: newSessions()}
}

func (s *Service) path(name string) string { return filepath.Join("/", s.options.Root, name) }

func (s *Service) settings() string { return s.path("/etc/pihole/pihole.toml") }

// Run serves until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	c, err := s.configure()
	if err != nil {
		return err
	}
	if err := s.prepareLists(); err != nil {
		return err
	}
	if err := s.gravity(ctx, s.path(c.text("files.gravity"))); err != nil {
		return err
	}
	if err := s.own(); err != nil {
		return err
	}
	for {
		f, err := s.newFTL()
		if err != nil {
			return err
		}
		if err := f.run(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		log.Print("FTL restarts")
	}
}

// Healthy returns an error if the running service is not healthy. The real
// image's health is its DNS alone.
func (s *Service) Healthy(ctx context.Context) error {
	c, err := load(s.settings(), s.env)
	if err != nil {
		return err
	}
	question := new(dns.Msg).SetQuestion("pi.hole.", dns.TypeA)
	question.RecursionDesired = false
	addr := net.JoinHostPort("127.0.0.1", strconv.FormatInt(c.number("dns.port"), 10))
	if _, _, err := new(dns.Client).ExchangeContext(ctx, question, addr); err != nil {
		return fmt.Errorf("asking its DNS: %w", err)
	}
	return nil
}

// configure makes the settings complete before anything else is started.
func (s *Service) configure() (*config, error) {
	if err := os.MkdirAll(s.path("/etc/pihole"), 0o755); err != nil {
		return nil, fmt.Errorf("making the settings' directory: %w", err)
	}
	if err := s.readSecret(); err != nil {
		return nil, err
	}
	c, err := load(s.settings(), s.env)
	if err != nil {
		return nil, err
	}
	if !c.forced["files.macvendor"] {
		c.values["files.macvendor"] = "/macvendor.db"
	}
	if len(c.list("dns.upstreams")) == 0 && !c.forced["dns.upstreams"] {
		log.Print("No DNS upstream set in environment or config file, defaulting to Google DNS")
		c.values["dns.upstreams"] = []string{"8.8.8.8", "8.8.4.4"}
	}
	switch {
	case c.forced["webserver.api.password"]:
		log.Print("Assigning password defined by Environment Variable")
	case c.text("webserver.api.pwhash") != "":
		log.Print("Password already set in config file")
	default:
		random := strings.NewReplacer("+", "-", "/", "_").Replace(token()[:8])
		log.Printf("No password set in environment or config file, assigning random password: %s", random)
		c.setPassword(random)
	}
	if c.forced["dhcp.active"] && c.flag("dhcp.active") && !s.options.NetAdmin() {
		log.Print("ERROR: DHCP requested but NET_ADMIN is not available. DHCP will not be started.")
	}
	return c, c.save(s.settings())
}

// readSecret takes the password from the file that WEBPASSWORD_FILE names.
func (s *Service) readSecret() error {
	name := s.env["WEBPASSWORD_FILE"]
	if _, set := variables(s.env)[strings.ToLower(variable("webserver.api.password"))]; set || name == "" {
		return nil
	}
	data, err := os.ReadFile(s.path(filepath.Join("/run/secrets", name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the password's file: %w", err)
	}
	s.env[variable("webserver.api.password")] = strings.TrimRight(string(data), "\n")
	return nil
}

func (s *Service) prepareLists() error {
	path := s.path("/etc/pihole/adlists.list")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.WriteFile(path, []byte("https://raw.githubusercontent.com/StevenBlack/hosts/master/hosts\n"), 0o644); err != nil {
		return fmt.Errorf("writing the list of lists: %w", err)
	}
	return nil
}

// own gives everything below /etc/pihole to the user that FTL runs as.
func (s *Service) own() error {
	if os.Geteuid() != 0 {
		return nil
	}
	const user = 1000
	err := filepath.WalkDir(s.path("/etc/pihole"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, user, user)
	})
	if err != nil {
		return fmt.Errorf("giving the settings to FTL: %w", err)
	}
	return nil
}

// netAdmin tells whether this process may change the network, as DHCP needs.
func netAdmin() bool {
	const capNetAdmin = 12
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "CapEff:")
	set, err := strconv.ParseUint(strings.TrimSpace(strings.SplitN(rest, "\n", 2)[0]), 16, 64)
	return err == nil && set&(1<<capNetAdmin) != 0
}

// ftl is one run of pihole-FTL.
type ftl struct {
	settings string
	env      service.Env
	sessions *sessions
	leases   *leaseTable
	dhcpAddr string
	netAdmin func() bool

	restarting chan struct{}

	mu      sync.Mutex
	current *config
	written fs.FileInfo // of the settings' file, as FTL wrote it
	lines   *lines      // nil where dnsmasq did not start
}

func (s *Service) newFTL() (*ftl, error) {
	c, err := load(s.settings(), s.env)
	if err != nil {
		return nil, err
	}
	if err := c.save(s.settings()); err != nil {
		return nil, err
	}
	leases, err := openLeases(s.path("/etc/pihole/dhcp.leases"))
	if err != nil {
		return nil, err
	}
	written, err := os.Stat(s.settings())
	if err != nil {
		return nil, fmt.Errorf("looking at the settings: %w", err)
	}
	f := &ftl{settings: s.settings(), env: s.env, sessions: s.sessions, leases: leases, dhcpAddr: s.options.DHCPAddr, netAdmin: s.options.NetAdmin, restarting: make(chan struct{}, 1), current: c, written: written}
	if f.dhcpAddr == "" {
		f.dhcpAddr = ":67"
	}
	return f, nil
}

func (f *ftl) config() *config {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current
}

// replace makes c the settings and writes them.
func (f *ftl) replace(c *config) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := c.save(f.settings); err != nil {
		return err
	}
	f.current = c
	var err error
	if f.written, err = os.Stat(f.settings); err != nil {
		return fmt.Errorf("looking at the settings: %w", err)
	}
	return nil
}

// watch reads the settings again when somebody else has changed the file.
func (f *ftl) watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
		f.mu.Lock()
		info, err := os.Stat(f.settings)
		same := err != nil || os.SameFile(info, f.written) && info.ModTime().Equal(f.written.ModTime()) && info.Size() == f.written.Size()
		f.mu.Unlock()
		if same {
			continue
		}
		log.Print("Reloading config due to pihole.toml change")
		old := f.config()
		c, err := load(f.settings, f.env)
		if err == nil {
			err = f.replace(c)
		}
		if err != nil {
			return err
		}
		if c.text("webserver.api.pwhash") != old.text("webserver.api.pwhash") {
			f.sessions.clear()
		}
		for _, i := range items() {
			if i.restarts && !reflect.DeepEqual(c.values[i.key], old.values[i.key]) {
				log.Printf("Restarting FTL due to change of %s", i.key)
				f.restart()
				break
			}
		}
	}
}

func (f *ftl) restart() {
	select {
	case f.restarting <- struct{}{}:
	default:
	}
}

func (f *ftl) answersDNS() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines != nil
}

// run serves until ctx ends or a changed setting wants a restart. FTL's web
// server and its dnsmasq go on without each other.
func (f *ftl) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-f.restarting:
			cancel()
		}
		return nil
	})
	g.Go(func() error { return f.watch(ctx) })
	g.Go(func() error {
		if err := f.serveWeb(ctx); err != nil && ctx.Err() == nil {
			log.Printf("ERROR: the web interface will not be available: %v", err)
		}
		<-ctx.Done()
		return nil
	})
	g.Go(func() error {
		if err := f.serveDNSMasq(ctx); err != nil && ctx.Err() == nil {
			log.Printf("CRIT: error in dnsmasq configuration: %v", err)
			f.mu.Lock()
			f.lines = nil
			f.mu.Unlock()
		}
		<-ctx.Done()
		return nil
	})
	log.Print("########## FTL started ##########")
	return g.Wait()
}

func (f *ftl) serveWeb(ctx context.Context) error {
	var listeners []service.Listener
	handler := f.handler()
	for spec := range strings.SplitSeq(f.config().text("webserver.port"), ",") {
		addr, optional, err := parseWebPort(spec)
		if err != nil {
			return err
		}
		if addr == "" {
			continue
		}
		if optional {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				log.Printf("WARNING: %s: %v", spec, err)
				continue
			}
			if err := l.Close(); err != nil {
				return err
			}
		}
		listeners = append(listeners, service.Listener{Addr: addr, Handler: handler})
	}
	return service.Serve(ctx, listeners...)
}

// parseWebPort reads one of webserver.port's items, such as 6001, 127.0.0.1:80o
// or 443os. The address is empty for what the stand-in does not serve: TLS, and
// IPv6, which the same listener serves.
func parseWebPort(spec string) (addr string, optional bool, err error) {
	spec = strings.TrimSpace(spec)
	at := strings.LastIndex(spec, ":") + 1
	port := strings.TrimRight(spec[at:], "osr")
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", false, fmt.Errorf("webserver.port: %q is not understood", spec)
	}
	flags := spec[at+len(port):]
	if strings.Contains(flags, "s") || strings.HasPrefix(spec, "[") {
		return "", true, nil
	}
	return net.JoinHostPort(strings.TrimSuffix(spec[:at], ":"), port), strings.Contains(flags, "o"), nil
}

func (f *ftl) serveDNSMasq(ctx context.Context) error {
	c := f.config()
	if err := c.check(); err != nil {
		return err
	}
	lines, err := parseLines(c)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.lines = lines
	f.mu.Unlock()
	g, ctx := errgroup.WithContext(ctx)
	if c.flag("dhcp.active") {
		if !f.netAdmin() {
			return errors.New("process is missing required capability NET_ADMIN")
		}
		d, err := newDHCP(c, lines, f.leases)
		if err != nil {
			return err
		}
		g.Go(func() error { return d.serve(ctx, f.dhcpAddr) })
	}
	g.Go(func() error {
		return serveDNS(ctx, net.JoinHostPort("", strconv.FormatInt(c.number("dns.port"), 10)), func(ctx context.Context, q *dns.Msg, network string) *dns.Msg {
			// The hosts are read each time: a change of them restarts nothing.
			return parseNames(f.config(), lines, f.leases.all(time.Now())).answer(ctx, q, network)
		})
	})
	return g.Wait()
}
