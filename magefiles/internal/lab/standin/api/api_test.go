package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/api"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/hal"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/npm"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/pihole"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

const (
	halKey      = "0123456789abcdef"
	accountKey  = "service-account"
	oldHostapd  = "interface=wlan0\nssid=cubeos-123456\n"
	piholeSeed  = "[webserver.api]\npwhash = \"e957c2a1476d4f941ce057cad7981d781f66dbdf1857251b7cd6824c0218d056\"\n[dns]\nhosts = [\"10.42.24.1 cubeos.cube\"]\n[dhcp]\nactive = true\nstart = \"10.42.24.10\"\nend = \"10.42.24.250\"\nrouter = \"10.42.24.1\"\n"
	wizardInput = `{"admin_username": "owner", "admin_password": "correct horse", "hostname": "boat", "wifi_ssid": "Boat", "wifi_password": "battery staple", "country_code": "FR", "timezone": "Europe/Paris"}`
)

// device is the API with the other services around it, and its files.
type device struct {
	standintest.Root

	t       *testing.T
	env     service.Env
	url     string
	piholes string // Pi-hole's address
	npm     string // the proxy manager's

	mu    sync.Mutex
	units []string        // what systemd was asked for
	ran   []string        // what was run on the host
	slept []time.Duration // what the API waited
}

func newDevice(t *testing.T) *device {
	t.Helper()
	d := &device{t: t, Root: standintest.NewRoot(t, map[string]string{
		"cubeos/config/defaults.env": "CUBEOS_DOMAIN=cubeos.cube\n",
		"cubeos/config/secrets.env":  "JWT_SECRET=secret\nCUBEOS_PIHOLE_PASSWORD=cubeos\nCUBEOS_NPM_EMAIL=admin@cubeos.cube\nCUBEOS_NPM_PASSWORD=changeme\nNPM_API_PASSWORD=" + accountKey + "\n",
		"cubeos/data/":               "", "cubeos/coreapps/pihole/appconfig/": "", "cubeos/coreapps/npm/": "",
		"etc/hostapd/hostapd.conf": oldHostapd, "etc/hostname": "container\n",
		"host-root/etc/hostname": "cubeos\n", "host-root/etc/hosts": "127.0.0.1\tlocalhost\n127.0.1.1\tcubeos\n",
		"proc/1/root/etc/netplan/": "", "proc/sys/net/ipv4/ip_forward": "0",
	})}
	port := func(addr string) string { return standintest.Port(t, addr) }
	addrs := standintest.Addrs(t, 4)
	halAddr, apiAddr := addrs[0], addrs[1]
	d.piholes, d.npm, d.url = addrs[2], addrs[3], "http://"+apiAddr
	d.env = service.Env{
		"API_HOST": "127.0.0.1", "API_PORT": port(apiAddr), "DATABASE_PATH": "/cubeos/data/cubeos.db", "GATEWAY_IP": "10.42.24.1", "DOMAIN": "cubeos.cube",
		"DASHBOARD_PORT": "6011", "NPM_PORT": port(d.npm), "PIHOLE_PORT": port(d.piholes), "PIHOLE_URL": "http://" + d.piholes,
		"DOCKER_HOST_GW": "127.0.0.1", "DOCKER_HOST": d.dockerSocket(), "HAL_URL": "http://" + halAddr + "/hal", "HAL_API_KEY": halKey, "HAL_KEY": halKey,
		"CUBEOS_HOST_ROOT": "/host-root",
	}
	standintest.Run(t, hal.New(service.Env{"HAL_HOST": "127.0.0.1", "HAL_PORT": port(halAddr), "HAL_ACL_KEYS": `{"keys": {"` + halKey + `": "core"}}`}, hal.Options{
		Root: d.Dir,
		Units: func(_ context.Context, verb, unit string) error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.units = append(d.units, verb+" "+unit)
			return nil
		},
		Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.ran = append(d.ran, strings.Join(append([]string{name}, args...), " "))
			return nil, nil
		},
	}))
	return d
}

// holds checks that a file has a line.
func (d *device) holds(name, line string) {
	d.t.Helper()
	if text := d.Read(name); !slices.Contains(strings.Split(text, "\n"), line) {
		d.t.Errorf("%s has no line %q:\n%s", name, line, text)
	}
}

func (d *device) dockerSocket() string {
	path := filepath.Join(d.t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		d.t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") })}}
	srv.Start()
	d.t.Cleanup(srv.Close)
	return "unix://" + path
}

// withPihole starts a Pi-hole with the password cubeos.
func (d *device) withPihole(env service.Env) {
	d.t.Helper()
	root := d.Path("pihole")
	d.Write("pihole/etc/pihole/pihole.toml", piholeSeed)
	d.Write("pihole/etc/pihole/gravity.db", "")
	addrs := standintest.Addrs(d.t, 2)
	env["FTLCONF_webserver_port"], env["FTLCONF_dns_port"] = d.piholes, standintest.Port(d.t, addrs[0])
	standintest.Run(d.t, pihole.New(env, pihole.Options{Root: root, DHCPAddr: addrs[1], NetAdmin: func() bool { return true }}))
}

// withNPM starts a proxy manager, with an account for the API.
func (d *device) withNPM() {
	d.t.Helper()
	root := standintest.NewRoot(d.t, map[string]string{"data/": "", "etc/letsencrypt/": "", "etc/resolv.conf": "nameserver 127.0.0.1\n"})
	addrs := standintest.Addrs(d.t, 3)
	standintest.Run(d.t, npm.New(service.Env{"INITIAL_ADMIN_EMAIL": "admin@cubeos.cube", "INITIAL_ADMIN_PASSWORD": "changeme", "IP_RANGES_FETCH_ENABLED": "false"},
		npm.Options{Root: root.Dir, Admin: d.npm, HTTP: addrs[0], HTTPS: addrs[1], Backend: addrs[2]}))
	token := d.npmToken("admin@cubeos.cube", "changeme")
	if status, body := d.ask("http://"+d.npm, http.MethodPost, "/api/users", token,
		`{"name": "API", "nickname": "api", "email": "api@cubeos.cube", "roles": ["admin"], "is_disabled": false, "auth": {"type": "password", "secret": "`+accountKey+`"}}`); status != http.StatusCreated {
		d.t.Fatalf("the API's account: %d %s", status, body)
	}
}

func (d *device) npmToken(email, password string) string {
	d.t.Helper()
	_, body := d.ask("http://"+d.npm, http.MethodPost, "/api/tokens", "", fmt.Sprintf(`{"identity": %q, "secret": %q}`, email, password))
	return field(body, "token")
}

func field(body, name string) string {
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return ""
	}
	value, _ := answer[name].(string)
	return value
}

func (d *device) ask(base, method, path, token, body string) (int, string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, resp.Body); err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func (d *device) get(path, token string) (int, string) {
	return d.ask(d.url, http.MethodGet, path, token, "")
}

func (d *device) post(path, token, body string) (int, string) {
	return d.ask(d.url, http.MethodPost, path, token, body)
}

// api returns the API, which waits for nothing, but for what blocks.
func (d *device) api(blocks func(ctx context.Context, d time.Duration) error) *api.Service {
	d.t.Helper()
	s, err := api.New(d.env, api.Options{Root: d.Dir, Cost: bcrypt.MinCost, Sleep: func(ctx context.Context, wait time.Duration) error {
		d.mu.Lock()
		d.slept = append(d.slept, wait)
		d.mu.Unlock()
		if blocks != nil {
			return blocks(ctx, wait)
		}
		return ctx.Err()
	}})
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *device) logIn(name, password string) string {
	d.t.Helper()
	status, body := d.post("/api/v1/auth/login", "", fmt.Sprintf(`{"username": %q, "password": %q}`, name, password))
	if status != http.StatusOK {
		d.t.Fatalf("logging in as %s: %d %s", name, status, body)
	}
	return field(body, "access_token")
}

func TestAppliedWizardReachesFilesAndServices(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	standintest.Run(t, d.api(nil))

	if status, body := d.get("/api/v1/network/mode", ""); status != http.StatusPreconditionRequired || !strings.Contains(body, `"redirect":"/setup"`) {
		t.Errorf("before the wizard: %d %s", status, body)
	}
	if status, body := d.post("/api/v1/setup/apply", "", wizardInput); status != http.StatusOK {
		t.Fatalf("apply: %d %s", status, body)
	}
	for name, line := range map[string]string{
		"etc/hostapd/hostapd.conf":              "ssid=Boat",
		"host-root/etc/hostname":                "boat",
		"host-root/etc/hosts":                   "127.0.1.1\tboat",
		"host-root/etc/timezone":                "Europe/Paris",
		"cubeos/config/defaults.env":            "CUBEOS_COUNTRY_CODE=FR",
		"cubeos/data/.setup_complete":           "complete",
		"cubeos/coreapps/pihole/appconfig/.env": "PIHOLE_PASSWORD=correct horse",
	} {
		standintest.Eventually(t, name, func() error {
			if text := d.Read(name); !slices.Contains(strings.Split(text, "\n"), line) {
				return fmt.Errorf("no line %q in:\n%s", line, text)
			}
			return nil
		})
	}
	d.holds("etc/hostapd/hostapd.conf", "wpa_passphrase=battery staple")
	d.holds("etc/hostapd/hostapd.conf", "country_code=FR")
	if target, err := os.Readlink(d.Path("host-root/etc/localtime")); err != nil || target != "/usr/share/zoneinfo/Europe/Paris" {
		t.Errorf("localtime leads to %s (%v)", target, err)
	}
	d.mu.Lock()
	if !slices.Contains(d.units, "restart hostapd.service") {
		t.Errorf("hostapd was not restarted: %v", d.units)
	}
	d.mu.Unlock()
	standintest.Eventually(t, "the proxy manager has the new password", func() error {
		if d.npmToken("admin@cubeos.cube", "correct horse") == "" {
			return errors.New("it does not let us in")
		}
		return nil
	})
	standintest.Eventually(t, "the new passwords are recorded", func() error {
		text := d.Read("cubeos/config/secrets.env")
		if !strings.Contains(text, "CUBEOS_PIHOLE_PASSWORD=correct horse\n") || !strings.Contains(text, "CUBEOS_NPM_PASSWORD=correct horse\n") {
			return errors.New(text)
		}
		return nil
	})
	token := d.logIn("owner", "correct horse")
	if status, body := d.get("/api/v1/network/mode", token); status != http.StatusOK || field(body, "mode") != "offline_hotspot" {
		t.Errorf("the mode: %d %s", status, body)
	}
	d.logIn("admin", "cubeos") // another name leaves the first account as it was
}

func TestWizardFailsWithoutPiholesPassword(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	d.env["PIHOLE_PASSWORD"] = "other"
	standintest.Run(t, d.api(nil))
	status, body := d.post("/api/v1/setup/apply", "", wizardInput)
	if status != http.StatusInternalServerError || !strings.Contains(body, "setup failed: workflow exhausted 3 attempts: transient: DHCP verification failed: failed to read Pi-hole DHCP state: pi-hole auth failed: pi-hole auth failed (HTTP 4") {
		t.Fatalf("apply: %d %s", status, body)
	}
	if got := d.Read("etc/hostapd/hostapd.conf"); got != oldHostapd {
		t.Errorf("the access point's settings are not what they were:\n%s", got)
	}
	d.holds("host-root/etc/hostname", "boat")
	standintest.Eventually(t, "the password on record", func() error {
		if text := d.Read("cubeos/config/secrets.env"); !strings.Contains(text, "CUBEOS_PIHOLE_PASSWORD=correct horse\n") {
			return errors.New(text)
		}
		return nil
	})
	if _, body := d.get("/api/v1/setup/status", ""); !strings.Contains(body, `"is_complete":false`) {
		t.Errorf("the status is %s", body)
	}
	status, body = d.post("/api/v1/setup/apply", "", strings.Replace(wizardInput, "boat", "Boat!", 1))
	if status != http.StatusInternalServerError || !strings.Contains(body, "setup failed: workflow permanent: validation failed: hostname: Hostname must be lowercase") {
		t.Errorf("a bad name: %d %s", status, body)
	}
}

func TestWizardFailsWherePiholesDHCPIsLocked(t *testing.T) {
	if testing.Short() {
		t.Skip("it logs in to Pi-hole two dozen times: test:integration runs it")
	}
	d := newDevice(t)
	d.withPihole(service.Env{"FTLCONF_dhcp_active": "false", "FTLCONF_webserver_api_max_sessions": "64"})
	d.withNPM()
	standintest.Run(t, d.api(nil))
	if status, body := d.post("/api/v1/setup/apply", "", wizardInput); status != http.StatusInternalServerError || !strings.Contains(body, "expected=true, actual=false after correction") {
		t.Errorf("apply: %d %s", status, body)
	}
}

func TestWizardWithoutMountsSucceedsAndGoesNowhere(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	for _, name := range []string{"etc/hostapd", "host-root"} {
		if err := os.RemoveAll(d.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	standintest.Run(t, d.api(nil))
	if status, body := d.post("/api/v1/setup/apply", "", wizardInput); status != http.StatusOK {
		t.Fatalf("apply: %d %s", status, body)
	}
	d.holds("cubeos/config/hostapd.conf", "ssid=Boat")
	d.holds("etc/hostname", "boat")
}

func TestPowerCutUndoesTheWizard(t *testing.T) {
	d := newDevice(t)
	d.withNPM()
	waiting := make(chan struct{})
	first := sync.OnceFunc(func() { close(waiting) })
	stop := standintest.Run(t, d.api(func(ctx context.Context, wait time.Duration) error {
		if wait != time.Second { // between two attempts of a step: Pi-hole is not there
			return ctx.Err()
		}
		first()
		<-ctx.Done()
		return ctx.Err()
	}))
	go func() {
		req, err := http.NewRequest(http.MethodPost, d.url+"/api/v1/setup/apply", strings.NewReader(wizardInput))
		if err == nil {
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
	}()
	<-waiting
	standintest.Eventually(t, "the new password is on record", func() error {
		if text := d.Read("cubeos/config/secrets.env"); !strings.Contains(text, "CUBEOS_PIHOLE_PASSWORD=correct horse\n") {
			return errors.New(text)
		}
		return nil
	})
	stop()
	d.holds("etc/hostapd/hostapd.conf", "ssid=Boat")

	// And so it has to be Pi-hole's, and the API's for it, when both start again.
	d.withPihole(service.Env{"FTLCONF_webserver_api_password": "correct horse"})
	d.env["PIHOLE_PASSWORD"] = "correct horse"
	standintest.Run(t, d.api(nil))
	if got := d.Read("etc/hostapd/hostapd.conf"); got != oldHostapd {
		t.Errorf("the access point's settings are not what they were:\n%s", got)
	}
	d.holds("host-root/etc/hostname", "boat")
	if _, body := d.get("/api/v1/setup/status", ""); !strings.Contains(body, `"is_complete":false`) {
		t.Errorf("the status is %s", body)
	}
	if status, body := d.post("/api/v1/setup/apply", "", wizardInput); status != http.StatusOK {
		t.Errorf("apply again: %d %s", status, body)
	}
	d.logIn("owner", "correct horse")
}

func TestSkippedWizardKeepsTheDefaults(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	standintest.Run(t, d.api(nil))
	if _, body := d.get("/api/v1/setup/defaults", ""); field(body, "hostname") != "cubeos" || field(body, "wifi_password") != "cubeos1234" {
		t.Errorf("the defaults are %s", body)
	}
	if status, body := d.ask(d.url, http.MethodPost, "/api/v1/setup/skip", "", ""); status != http.StatusOK || !strings.Contains(body, `"skipped":true`) {
		t.Fatalf("skip: %d %s", status, body)
	}
	if got := d.Read("etc/hostapd/hostapd.conf"); got != oldHostapd {
		t.Errorf("skipping changed the access point:\n%s", got)
	}
	d.holds("cubeos/data/.setup_complete", "complete")
	token := d.logIn("admin", "cubeos")
	if status, body := d.post("/api/v1/auth/password", token, `{"current_password": "wrong", "new_password": "0123456789"}`); status != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d %s", status, body)
	}
	if status, body := d.post("/api/v1/auth/password", token, `{"current_password": "cubeos", "new_password": "0123456789"}`); status != http.StatusOK {
		t.Errorf("a new password: %d %s", status, body)
	}
	d.logIn("admin", "0123456789")
	if status, _ := d.get("/api/v1/network/mode", token+"x"); status != http.StatusUnauthorized {
		t.Errorf("a forged token: %d", status)
	}
}

func TestProxyHostsAreMadeWithAnAccount(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	standintest.Run(t, d.api(nil))
	_, body := d.ask("http://"+d.npm, http.MethodGet, "/api/nginx/proxy-hosts", d.npmToken("admin@cubeos.cube", "changeme"), "")
	var hosts []map[string]any
	if err := json.Unmarshal([]byte(body), &hosts); err != nil || len(hosts) != 10 {
		t.Errorf("the hosts are %s", body)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.slept) > 0 && d.slept[0] > 0 {
		t.Errorf("it waited %v", d.slept)
	}
}

func TestWithoutAnAccountTheAPIListensAMinuteLater(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	d.Write("cubeos/config/secrets.env", "CUBEOS_NPM_PASSWORD=wrong\n")
	listening := errors.New("nothing was waited for")
	standintest.Run(t, d.api(func(ctx context.Context, wait time.Duration) error {
		if wait == 30*time.Second && listening != nil {
			_, listening = net.Dial("tcp", strings.TrimPrefix(d.url, "http://"))
			if listening == nil {
				t.Error("it listens while it waits")
			}
			listening = nil
		}
		return ctx.Err()
	}))
	d.mu.Lock()
	defer d.mu.Unlock()
	if diff := cmp.Diff([]time.Duration{10 * time.Second, 20 * time.Second, 30 * time.Second}, d.slept[:3]); diff != "" {
		t.Errorf("what it waited:\n%s", diff)
	}
}

func TestModeOfTheNetworkIsTheDashboards(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	d.env["CUBEOS_WAN_INTERFACE"] = "lo"
	standintest.Run(t, d.api(nil))
	if status, body := d.ask(d.url, http.MethodPost, "/api/v1/setup/skip", "", ""); status != http.StatusOK {
		t.Fatalf("skip: %d %s", status, body)
	}
	token := d.logIn("admin", "cubeos")
	for mode, want := range map[string]int{"": 400, "sideways": 400, "wifi_bridge": 400} {
		if status, body := d.post("/api/v1/network/mode", token, fmt.Sprintf(`{"mode": %q}`, mode)); status != want {
			t.Errorf("mode %q: %d %s", mode, status, body)
		}
	}
	if status, body := d.post("/api/v1/network/mode", token, `{"mode": "wifi_router"}`); status != http.StatusOK {
		t.Fatalf("wifi_router: %d %s", status, body)
	}
	d.holds("proc/1/root/etc/netplan/01-cubeos.yaml", "# CubeOS netplan — wifi_router mode")
	d.holds("proc/sys/net/ipv4/ip_forward", "1")
	d.mu.Lock()
	if !slices.Contains(d.ran, "iptables -t nat -A POSTROUTING -s 10.42.24.0/24 -o lo -j MASQUERADE") {
		t.Errorf("no rule for the clients: %v", d.ran)
	}
	d.mu.Unlock()
	if text := d.Read("pihole/etc/pihole/pihole.toml"); !strings.Contains(text, `dnsmasq_lines = ["address=/cubeos.cube/10.42.24.1", "no-dhcp-interface=eth0"]`) {
		t.Errorf("Pi-hole's settings are:\n%s", text)
	}
	if _, body := d.get("/api/v1/network/mode", token); field(body, "mode") != "wifi_router" {
		t.Errorf("the mode is %s", body)
	}
	if status, body := d.post("/api/v1/network/mode", token, `{"mode": "eth_client"}`); status != http.StatusOK {
		t.Fatalf("eth_client: %d %s", status, body)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, want := range []string{"iptables -t nat -F POSTROUTING", "ip addr replace 192.168.1.242/24 dev lo"} {
		if !slices.Contains(d.ran, want) {
			t.Errorf("%q was not run: %v", want, d.ran)
		}
	}
	if !slices.Contains(d.units, "stop hostapd.service") {
		t.Errorf("the access point was not stopped: %v", d.units)
	}
}

func TestWhatItDoesNotStartWithout(t *testing.T) {
	d := newDevice(t)
	d.env["API_PORT"], d.env["DOMAIN"] = "many", ""
	_, err := api.New(d.env, api.Options{Root: d.Dir})
	for _, want := range []string{"API_PORT must be a port", "DOMAIN not set"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	d.Write("cubeos/config/defaults.env", "API_PORT=6010\nDOMAIN=cubeos.cube\n")
	delete(d.env, "API_PORT")
	delete(d.env, "DOMAIN")
	if _, err := api.New(d.env, api.Options{Root: d.Dir}); err != nil {
		t.Errorf("variables of the file: %v", err)
	}
	if err := os.Remove(d.Path("cubeos/config/defaults.env")); err != nil {
		t.Fatal(err)
	}
	if _, err := api.New(d.env, api.Options{Root: d.Dir}); err == nil || !strings.Contains(err.Error(), "defaults.env not found") {
		t.Errorf("without its file: %v", err)
	}
}

func TestWithoutDockerItEnds(t *testing.T) {
	d := newDevice(t)
	d.withPihole(service.Env{})
	d.withNPM()
	d.env["DOCKER_HOST"] = "unix://" + filepath.Join(t.TempDir(), "none.sock")
	if err := d.api(nil).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Orchestrator is required") {
		t.Errorf("got %v", err)
	}
}
