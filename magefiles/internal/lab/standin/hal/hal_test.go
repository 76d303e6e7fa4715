package hal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

func ask(t *testing.T, s *Service, key, method, path, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("X-HAL-Key", key)
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestKeysLetThroughWhatTheirRoleMay(t *testing.T) {
	root := standintest.NewRoot(t, map[string]string{
		"data/acl.json":       `{"keys": {"all": "core", "mesh": "meshsat", "eyes": "readonly", "odd": "emperor"}}`,
		"host/etc/os-release": "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
		"etc/hostname":        "container\n",
	})
	closed := New(service.Env{}, Options{Root: root.Dir})
	byVariable := New(service.Env{"HAL_ACL_KEYS": `{"keys": {"other": "core"}}`}, Options{Root: root.Dir})
	open := New(service.Env{}, Options{Root: standintest.NewRoot(t, map[string]string{"data/acl.json": `{"keys": {`, "etc/os-release": "ID=alpine\n"}).Dir})
	for _, tt := range []struct {
		s                 *Service
		key, method, path string
		status            int
		answer            string
	}{
		{closed, "", "GET", "/health", 200, "healthy"},
		{closed, "", "GET", "/hal/health", 200, "healthy"},
		{closed, "", "GET", "/hal/system/os", 401, "missing X-HAL-Key header"},
		{closed, "wrong", "GET", "/hal/system/os", 401, "invalid API key"},
		{closed, "odd", "GET", "/hal/system/os", 401, "invalid API key"},
		{closed, "all", "GET", "/hal/system/os", 200, `"id":"debian"`},
		{closed, "eyes", "GET", "/hal/system/os", 200, "trixie"},
		{closed, "eyes", "POST", "/hal/system/hostname", 403, "insufficient permissions"},
		{closed, "mesh", "GET", "/hal/system/os", 403, "insufficient permissions"},
		{byVariable, "all", "GET", "/hal/system/os", 401, "invalid API key"},
		{byVariable, "other", "GET", "/hal/system/os", 200, "debian"},
		{open, "", "GET", "/hal/system/os", 200, "alpine"},
	} {
		status, answer := ask(t, tt.s, tt.key, tt.method, tt.path, `{"hostname": "x"}`)
		if status != tt.status || !strings.Contains(answer, tt.answer) {
			t.Errorf("%s %s with key %q: got %d %s, want %d %s", tt.method, tt.path, tt.key, status, answer, tt.status, tt.answer)
		}
	}
}

func TestUnitsAreThoseOfTheList(t *testing.T) {
	var asked []string
	s := New(service.Env{}, Options{Root: t.TempDir(), Units: func(_ context.Context, verb, unit string) error {
		asked = append(asked, verb+" "+unit)
		switch unit {
		case "ssh.service":
			return fmt.Errorf("%w: no such file", errNoManager)
		case "docker.service":
			return errors.New("systemd's job ended with failed")
		}
		return nil
	}})
	for _, tt := range []struct {
		path   string
		status int
		answer string
	}{
		{"hostapd/restart", 200, "service hostapd.service restarted"},
		{"hostapd/stop", 200, "service hostapd.service stopped"},
		{"docker/start", 500, "failed to start service"},
		{"ssh/restart", 500, "failed to connect to system manager"},
		{"cubeos-init/restart", 501, "service not in allowlist: cubeos-init"},
		{"hostapd/reload", 404, ""},
		{"pihole/recreate", 500, "recreate compose service failed"},
		{"npm/recreate", 403, "not in the compose recreate allowlist"},
	} {
		status, answer := ask(t, s, "", "POST", "/hal/system/service/"+tt.path, "")
		if status != tt.status || !strings.Contains(answer, tt.answer) {
			t.Errorf("%s: got %d %s", tt.path, status, answer)
		}
	}
	if diff := cmp.Diff([]string{"restart hostapd.service", "stop hostapd.service", "start docker.service", "restart ssh.service"}, asked); diff != "" {
		t.Error(diff)
	}
}

func TestHostnameIsTheContainersOnly(t *testing.T) {
	root := standintest.NewRoot(t, map[string]string{"etc/hostname": "old\n", "proc/1/root/etc/hostname": "device\n"})
	if status, answer := ask(t, New(service.Env{}, Options{Root: root.Dir}), "", "POST", "/hal/system/hostname", `{"hostname": "new"}`); status != 200 || !strings.Contains(answer, "hostname set to new") {
		t.Errorf("got %d %s", status, answer)
	}
	for name, want := range map[string]string{"etc/hostname": "new\n", "proc/1/root/etc/hostname": "device\n"} {
		if got := root.Read(name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
}

func TestNetworkIsChangedWithTheHostsPrograms(t *testing.T) {
	var ran []string
	fail := map[string]bool{"netplan": true}
	root := standintest.NewRoot(t, map[string]string{"proc/1/root/etc/netplan/50-other.yaml": "", "proc/sys/net/ipv4/ip_forward": "0\n"})
	s := New(service.Env{}, Options{Root: root.Dir, Run: func(_ context.Context, name string, args ...string) ([]byte, error) {
		ran = append(ran, strings.Join(append([]string{name}, args...), " "))
		if fail[name] {
			return nil, errors.New("not found")
		}
		return nil, nil
	}})
	const yaml = `# CubeOS netplan\nnetwork:\n  version: 2\n`
	for _, tt := range []struct {
		path, body string
		status     int
	}{
		{"/hal/network/netplan", `{"yaml": "` + yaml + `", "reconfigure_iface": "eth0"}`, 200},
		{"/hal/network/netplan", `{"yaml": "version: 1"}`, 400},
		{"/hal/network/interface/eth0/up", "", 200},
		{"/hal/firewall/nat/enable", `{"source": "10.42.24.0/24", "out_interface": "eth0"}`, 200},
		{"/hal/firewall/nat/enable", `{"source": "10.42.24.0/24", "out_interface": "eth0; reboot"}`, 400},
		{"/hal/firewall/nat/disable", "", 200},
		{"/hal/firewall/forward/enable", "", 200},
	} {
		if status, answer := ask(t, s, "", http.MethodPost, tt.path, tt.body); status != tt.status {
			t.Errorf("%s %s: got %d %s", tt.path, tt.body, status, answer)
		}
	}
	var rules []string
	for _, line := range ran {
		if !strings.HasPrefix(line, "iptables -t nat -A POSTROUTING -s ") || strings.Contains(line, "-s 10.42.24.0/24 ") { // not this machine's own bridges
			rules = append(rules, line)
		}
	}
	want := []string{
		"netplan apply", "networkctl reconfigure eth0", "ip link set eth0 up",
		"iptables -t nat -A POSTROUTING -s 10.42.24.0/24 -o eth0 -j MASQUERADE", "iptables -t nat -F POSTROUTING",
	}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"proc/1/root/etc/netplan/01-cubeos.yaml": "# CubeOS netplan\nnetwork:\n  version: 2\n", "proc/sys/net/ipv4/ip_forward": "1"} {
		if got := root.Read(name); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	bare := New(service.Env{}, Options{Root: t.TempDir(), Run: s.options.Run})
	if status, answer := ask(t, bare, "", http.MethodPost, "/hal/network/netplan", `{"yaml": "`+yaml+`"}`); status != 500 {
		t.Errorf("without a directory for it: got %d %s", status, answer)
	}
}

func TestClientsAreThoseOfPiholesLeases(t *testing.T) {
	s := New(service.Env{}, Options{Root: standintest.NewRoot(t, map[string]string{"etc/pihole/dhcp.leases": "1700000000 02:00:00:00:00:01 10.42.24.10 phone 01:02\n"}).Dir})
	if status, answer := ask(t, s, "", http.MethodGet, "/hal/network/ap/clients", ""); status != 200 || !strings.Contains(answer, `"ip_address":"10.42.24.10"`) || !strings.Contains(answer, `"count":1`) {
		t.Errorf("got %d %s", status, answer)
	}
}
