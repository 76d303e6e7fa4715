package contract_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/api"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/contract"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/dashboard"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/hal"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/npm"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/pihole"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

// TestRealServices compares services that run somewhere. CONTRACT_URL lists
// them, with the user and the password that the contract needs:
//
//	CONTRACT_URL="pihole=http://:PASSWORD@HOST:6001 npm=http://EMAIL:PASSWORD@HOST:81 cubeos-hal=http://KEY@HOST:6005 \
//	  cubeos-api=http://admin:cubeos@HOST:6010 cubeos-dashboard=http://HOST:6011"
func TestRealServices(t *testing.T) {
	listed := strings.Fields(os.Getenv("CONTRACT_URL"))
	if len(listed) == 0 {
		t.Skip("CONTRACT_URL names no service")
	}
	for _, entry := range listed {
		name, raw, _ := strings.Cut(entry, "=")
		t.Run(name, func(t *testing.T) {
			suite, err := contract.For(name)
			if err != nil {
				t.Fatal(err)
			}
			base, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := suite.Check(t.Context(), base, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func check(t *testing.T, service, raw string) {
	t.Helper()
	suite, err := contract.For(service)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := suite.Check(t.Context(), base, nil); err != nil {
		t.Error(err)
	}
}

func TestPihole(t *testing.T) {
	addrs := standintest.Addrs(t, 2)
	root := standintest.NewRoot(t, map[string]string{
		"etc/pihole/gravity.db":  "",
		"etc/pihole/pihole.toml": "[webserver.api]\npwhash = \"e957c2a1476d4f941ce057cad7981d781f66dbdf1857251b7cd6824c0218d056\"\n",
	})
	standintest.Run(t, pihole.New(service.Env{"FTLCONF_dns_port": standintest.Port(t, addrs[0]), "FTLCONF_webserver_port": addrs[1]}, pihole.Options{Root: root.Dir}))
	check(t, "pihole", "http://:cubeos@"+addrs[1])
}

func TestNPM(t *testing.T) {
	addrs := standintest.Addrs(t, 4)
	o := npm.Options{
		Root:  standintest.NewRoot(t, map[string]string{"data/": "", "etc/letsencrypt/": "", "etc/resolv.conf": "nameserver 127.0.0.1\n"}).Dir,
		Admin: addrs[0], HTTP: addrs[1], HTTPS: addrs[2], Backend: addrs[3],
	}
	env := service.Env{"INITIAL_ADMIN_EMAIL": "admin@cubeos.cube", "INITIAL_ADMIN_PASSWORD": "changeme", "IP_RANGES_FETCH_ENABLED": "false"}
	standintest.Run(t, npm.New(env, o))
	check(t, "npm", "http://admin%40cubeos.cube:changeme@"+o.Admin)
}

const halKey = "0123456789abcdef"

func TestHAL(t *testing.T) {
	addr := standintest.Addrs(t, 1)[0]
	root := standintest.NewRoot(t, map[string]string{"host/etc/os-release": "ID=debian\nPRETTY_NAME=\"Debian\"\n", "proc/sys/net/ipv4/ip_forward": "0\n"})
	standintest.Run(t, hal.New(service.Env{"HAL_HOST": "127.0.0.1", "HAL_PORT": standintest.Port(t, addr), "HAL_ACL_KEYS": `{"keys": {"` + halKey + `": "core"}}`}, hal.Options{Root: root.Dir}))
	check(t, "cubeos-hal", "http://"+halKey+"@"+addr)
}

// startAPI runs an API that finds nothing but Docker, and returns its address.
func startAPI(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	docker := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { service.JSON(w, http.StatusOK, []any{}) })}
	go docker.Serve(l)
	t.Cleanup(func() { docker.Close() })
	addrs := standintest.Addrs(t, 2)
	addr, nobody := addrs[0], addrs[1]
	closed := standintest.Port(t, nobody)
	s, err := api.New(service.Env{
		"API_HOST": "127.0.0.1", "API_PORT": standintest.Port(t, addr), "DATABASE_PATH": "/cubeos/data/cubeos.db", "GATEWAY_IP": "10.42.24.1", "DOMAIN": "cubeos.cube",
		"DASHBOARD_PORT": "6011", "NPM_PORT": closed, "PIHOLE_PORT": closed, "PIHOLE_URL": "http://" + nobody, "DOCKER_HOST_GW": "127.0.0.1",
		"DOCKER_HOST": "unix://" + socket, "HAL_URL": "http://" + nobody + "/hal",
	}, api.Options{
		Root:  standintest.NewRoot(t, map[string]string{"cubeos/config/defaults.env": "CUBEOS_DOMAIN=cubeos.cube\n", "cubeos/data/": ""}).Dir,
		Cost:  bcrypt.MinCost,
		Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	standintest.Run(t, s)
	return addr
}

func TestAPI(t *testing.T) {
	check(t, "cubeos-api", "http://admin:cubeos@"+startAPI(t))
}

func TestDashboard(t *testing.T) {
	addr := standintest.Addrs(t, 1)[0]
	s, err := dashboard.New(service.Env{"API_URL": "http://" + startAPI(t)}, dashboard.Options{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	standintest.Run(t, s)
	check(t, "cubeos-dashboard", "http://"+addr)
}

func TestDashboardWithoutTheAPI(t *testing.T) {
	addr := standintest.Addrs(t, 1)[0]
	s, err := dashboard.New(service.Env{"API_URL": "http://" + standintest.Addrs(t, 1)[0]}, dashboard.Options{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	standintest.Run(t, s)
	for path, want := range map[string]int{"/": http.StatusOK, "/api/v1/setup/status": http.StatusBadGateway, "/health": http.StatusBadGateway} {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
	}
}

func TestAnswerHasToHaveWhatIsWanted(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		service.JSON(w, http.StatusOK, map[string]any{"a": 1, "list": []string{"x"}, "said": r.Header.Get("Said"), "null": nil})
	}))
	defer srv.Close()
	base, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for want, good := range map[string]bool{
		`{"a": 1}`:                    true,
		`{"a": 2}`:                    false,
		`{"b": 1}`:                    false,
		`{"list": ["x"]}`:             true,
		`{"list": []}`:                false,
		`{"list": "<any>"}`:           true,
		`{"null": "<any>"}`:           false,
		`{"null": null}`:              true,
		`{"said": "secret"}`:          true,
		`{"said": "secret", "a": {}}`: false,
	} {
		suite := contract.Suite{Service: "test", Steps: []contract.Step{{Name: "answer", Path: "/", Header: map[string]string{"Said": "secret"}, Status: http.StatusOK, Want: want}}}
		if err := suite.Check(t.Context(), base, nil); (err == nil) != good {
			t.Errorf("%s: %v", want, err)
		}
	}
	suite := contract.Suite{Service: "test", Steps: []contract.Step{{Name: "status", Path: "/", Status: http.StatusNotFound}, {Name: "text", Path: "/", Status: http.StatusOK, Text: "absent"}}}
	if err := suite.Check(t.Context(), base, nil); err == nil || !strings.Contains(err.Error(), "status") || !strings.Contains(err.Error(), "text") {
		t.Errorf("got %v", err)
	}
}
