package standin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// asService makes this test's own program be the one it tests, so that nothing
// else has to be compiled and races in a service are found, too.
const asService = "STANDIN_TEST_AS_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Command(ctx, os.Args[1:]); err != nil && !errors.Is(err, context.Canceled) {
			log.Fatal(err)
		}
		return
	}
	m.Run()
}

// program is a command of the program under test, with no other variables than
// these.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	// The race detector would wait a second at every exit.
	cmd.Env = append(slices.Clone(env), asService+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run starts a service as a container runtime does and stops it with SIGTERM
// when the test ends.
func run(t *testing.T, service string, env ...string) {
	t.Helper()
	var log strings.Builder
	cmd := program(t, env, service)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s: %v", service, err)
		}
		hung := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer hung.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s did not end well on SIGTERM: %v\n%s", service, err, log.String())
		}
	})
	eventually(t, service+" answers", func() error { return healthy(t, service, env) })
}

func healthy(t *testing.T, service string, env []string) error {
	t.Helper()
	if out, err := program(t, env, "-healthcheck", service).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// freePorts are below those that the kernel gives to whoever asks for any, so
// that nobody takes them before a service does.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for len(ports) < n {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, port)
	}
	return ports
}

func TestServicesAnswerLikeTheRealOnes(t *testing.T) {
	ports := freePorts(t, 8)
	halPort, apiPort, dashboardPort, webPort, dnsPort := ports[0], ports[1], ports[2], ports[3], ports[4]
	adminPort, httpPort, httpsPort := ports[5], ports[6], ports[7]
	docker := fakeDocker(t)
	data := filepath.Join(t.TempDir(), "data")

	run(t, "cubeos-hal", "HAL_HOST=127.0.0.1", "HAL_PORT="+halPort)
	run(t, "cubeos-dashboard", "DASHBOARD_PORT="+dashboardPort, "API_URL=http://127.0.0.1:"+apiPort)
	run(t, "npm", "STANDIN_NPM_ADMIN="+adminPort, "STANDIN_NPM_HTTP="+httpPort, "STANDIN_NPM_HTTPS="+httpsPort,
		"STANDIN_NPM_DATA="+t.TempDir(), "INITIAL_ADMIN_EMAIL=admin@cubeos.cube", "INITIAL_ADMIN_PASSWORD=secret")
	run(t, "pihole", "FTLCONF_webserver_port="+webPort, "FTLCONF_dns_port="+dnsPort,
		"FTLCONF_dns_hosts=10.42.24.1 cubeos.cube", "FTLCONF_misc_dnsmasq_lines=address=/cubeos.cube/10.42.24.1;no-dhcp-interface=eth0")

	t.Run("hal", func(t *testing.T) {
		wantAnswer(t, "http://127.0.0.1:"+halPort+"/health", "", 200, `"healthy"`)
		wantAnswer(t, "http://127.0.0.1:"+halPort+"/hal/health", "", 200, `"healthy"`)
	})
	t.Run("pihole's web interface", func(t *testing.T) {
		wantAnswer(t, "http://127.0.0.1:"+webPort+"/admin/", "", 200, "Pi-hole")
	})
	t.Run("npm", func(t *testing.T) {
		var answer struct{ Status string }
		if err := json.Unmarshal([]byte(wantAnswer(t, "http://127.0.0.1:"+adminPort+"/api/", "", 200, "")), &answer); err != nil || answer.Status != "OK" {
			t.Errorf("got %+v (%v), want status OK", answer, err)
		}
		wantAnswer(t, "http://127.0.0.1:"+httpPort+"/", "cubeos.cube", 200, "Congratulations")
		admin := &npmClient{t: t, url: "http://127.0.0.1:" + adminPort + "/api"}
		admin.logIn("admin@cubeos.cube", "secret")
		admin.add("cubeos.cube", dashboardPort)
		admin.add("api.cubeos.cube", apiPort)
		wantAnswer(t, "http://127.0.0.1:"+httpPort+"/", "", 200, "Congratulations")
		wantAnswer(t, "http://127.0.0.1:"+httpPort+"/", "cubeos.cube", 200, "Dashboard")
		wantAnswer(t, "https://127.0.0.1:"+httpsPort+"/", "CubeOS.cube:443", 200, "Dashboard")
		wantAnswer(t, "http://127.0.0.1:"+httpPort+"/health", "api.cubeos.cube", 502, "does not answer")
	})
	t.Run("dns", func(t *testing.T) {
		for _, network := range []string{"udp", "tcp"} {
			for _, tt := range []struct {
				name  string
				qtype uint16
				rcode int
				want  []string
			}{
				{"cubeos.cube.", dns.TypeA, dns.RcodeSuccess, []string{"10.42.24.1"}},
				{"Any.Name.CubeOS.cube.", dns.TypeA, dns.RcodeSuccess, []string{"10.42.24.1"}},
				{"api.cubeos.cube.", dns.TypeAAAA, dns.RcodeSuccess, nil},
				{"notcubeos.cube.", dns.TypeA, dns.RcodeRefused, nil},
				{"example.org.", dns.TypeA, dns.RcodeRefused, nil},
			} {
				q := new(dns.Msg).SetQuestion(tt.name, tt.qtype)
				got, _, err := (&dns.Client{Net: network, Timeout: time.Minute}).ExchangeContext(t.Context(), q, "127.0.0.1:"+dnsPort)
				if err != nil {
					t.Fatalf("%s %s: %v", network, tt.name, err)
				}
				var addrs []string
				for _, rr := range got.Answer {
					if a, ok := rr.(*dns.A); ok {
						addrs = append(addrs, a.A.String())
					}
				}
				if diff := cmp.Diff(tt.want, addrs); diff != "" || got.Rcode != tt.rcode {
					t.Errorf("%s %s: %s (-want +got):\n%s", network, tt.name, dns.RcodeToString[got.Rcode], diff)
				}
			}
		}
	})
	t.Run("api is healthy only when all it needs is there", func(t *testing.T) {
		env := []string{"API_PORT=" + apiPort, "CUBEOS_DATA_DIR=" + data, "DATABASE_PATH=" + data + "/db/cubeos.db",
			"GATEWAY_IP=10.42.24.1", "DOMAIN=cubeos.cube", "DASHBOARD_PORT=6011", "NPM_PORT=81", "PIHOLE_PORT=6001",
			"HAL_URL=http://127.0.0.1:" + halPort + "/hal", "DOCKER_HOST=unix://" + docker.socket}
		cmd := program(t, env, "cubeos-api")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait()
		defer cmd.Process.Signal(syscall.SIGTERM)
		url := "http://127.0.0.1:" + apiPort + "/health"
		eventually(t, "api answers", func() error {
			resp, err := http.Get(url)
			if err == nil {
				resp.Body.Close()
			}
			return err
		})
		wantAnswer(t, url, "", 503, "data directory")
		if healthy(t, "cubeos-api", env) == nil {
			t.Error("the health check passes without a data directory")
		}
		if err := os.MkdirAll(data, 0o755); err != nil {
			t.Fatal(err)
		}
		eventually(t, "api is healthy", func() error { return healthy(t, "cubeos-api", env) })
		if _, err := os.Stat(data + "/db/cubeos.db"); err != nil {
			t.Errorf("no database: %v", err)
		}
		wantAnswer(t, "http://127.0.0.1:"+dashboardPort+"/api-status", "", 200, `"docker":"ok"`)
		docker.Close()
		eventually(t, "api misses Docker", func() error {
			if healthy(t, "cubeos-api", env) == nil {
				return fmt.Errorf("still healthy")
			}
			return nil
		})
		wantAnswer(t, "http://127.0.0.1:"+dashboardPort+"/api-status", "", 503, `"hal":"ok"`)
	})
}

type dockerSocket struct {
	*httptest.Server
	socket string
}

// fakeDocker answers ping on a socket, as far as the API goes.
func fakeDocker(t *testing.T) dockerSocket {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/_ping" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, "OK")
	}))
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	return dockerSocket{srv, socket}
}

func wantAnswer(t *testing.T, url, host string, status int, part string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status || !strings.Contains(string(body), part) {
		t.Errorf("%s (host %q): %s %s; want %d and %q", url, host, resp.Status, body, status, part)
	}
	return string(body)
}

func TestSettingsThatAreWrongAreNamed(t *testing.T) {
	for _, tt := range []struct {
		service string
		env     map[string]string
		want    []string
	}{
		{"nosuch", nil, []string{"unknown service", "cubeos-dashboard, cubeos-hal"}},
		{"cubeos-dashboard", map[string]string{"API_URL": "api:6010"}, []string{"API_URL"}},
		{"cubeos-api", map[string]string{"API_PORT": "6010"}, []string{"DATABASE_PATH is not set", "GATEWAY_IP", "DOMAIN", "DASHBOARD_PORT", "NPM_PORT", "PIHOLE_PORT"}},
		{"pihole", map[string]string{
			"FTLCONF_webserver_port":     "web",
			"FTLCONF_dns_hosts":          "cubeos.cube 10.42.24.1",
			"FTLCONF_misc_dnsmasq_lines": "address=/cubeos.cube/nowhere",
			"FTLCONF_dns_upstreams":      "resolver.example",
		}, []string{"FTLCONF_webserver_port", "FTLCONF_dns_hosts", "FTLCONF_misc_dnsmasq_lines", "FTLCONF_dns_upstreams"}},
		{"registry", map[string]string{"REGISTRY_HTTP_ADDR": "5000"}, []string{"REGISTRY_HTTP_ADDR", "HOST:PORT"}},
	} {
		_, err := New(tt.service, func(k string) string { return tt.env[k] })
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", tt.service, err, want)
			}
		}
	}
}

func TestParseWebPort(t *testing.T) {
	for _, tt := range []struct {
		spec, port string
		ok         bool
	}{
		{"6001", "6001", true},
		{" 80o", "80", true},
		{"10.42.24.1:8080r", "8080", true},
		{"443os", "", true},
		{"[::]:80o", "", true},
		{"", "", false},
		{"eighty", "", false},
		{"80 81", "", false},
	} {
		port, ok := parseWebPort(tt.spec)
		if port != tt.port || ok != tt.ok {
			t.Errorf("parseWebPort(%q) = %q, %v; want %q, %v", tt.spec, port, ok, tt.port, tt.ok)
		}
	}
}

func TestForwardAsksTheNextUpstream(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(r, dns.RcodeNameError))
	})}
	go srv.ActivateAndServe()
	t.Cleanup(func() { srv.Shutdown() })
	_, port, err := net.SplitHostPort(pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	nobody := freePorts(t, 1)[0]
	for _, tt := range []struct {
		upstreams string
		want      int
	}{
		{"", dns.RcodeRefused},
		{"127.0.0.1#" + nobody, dns.RcodeServerFailure},
		{"127.0.0.1#" + nobody + ";127.0.0.1#" + port, dns.RcodeNameError},
	} {
		n, err := parseNames(func(k string) string {
			if k == "FTLCONF_dns_upstreams" {
				return tt.upstreams
			}
			return ""
		})
		if err != nil {
			t.Fatal(err)
		}
		got := n.answer(t.Context(), new(dns.Msg).SetQuestion("example.org.", dns.TypeA), true)
		if got.Rcode != tt.want {
			t.Errorf("upstreams %q: %s, want %s", tt.upstreams, dns.RcodeToString[got.Rcode], dns.RcodeToString[tt.want])
		}
	}
}
