package npm

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

// container is a file system for Nginx Proxy Manager, with what has to be
// mounted.
func container(t *testing.T, resolv string) standintest.Root {
	t.Helper()
	return standintest.NewRoot(t, map[string]string{"data/": "", "etc/letsencrypt/": "", "etc/resolv.conf": resolv})
}

const (
	resolver = "search lan\nnameserver 127.0.0.1\n"
	email    = "admin@cubeos.cube"
	secret   = "0123456789"
)

// start runs a proxy manager on free ports.
func start(t *testing.T, root standintest.Root, env service.Env, fetch func(context.Context) error) (o Options, s *Service, stop func()) {
	t.Helper()
	addrs := standintest.Addrs(t, 4)
	o = Options{Root: root.Dir, Admin: addrs[0], HTTP: addrs[1], HTTPS: addrs[2], Backend: addrs[3], FetchRanges: fetch}
	if fetch == nil {
		o.FetchRanges = func(context.Context) error { return errors.New("not here") }
	}
	s = New(env, o)
	return o, s, standintest.Start(t, s)
}

func admin() service.Env {
	return service.Env{"INITIAL_ADMIN_EMAIL": email, "INITIAL_ADMIN_PASSWORD": secret}
}

// client is who is logged in.
type client struct {
	t     *testing.T
	api   string
	token string
}

func (c *client) ask(method, path, body string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.api+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, resp.Body); err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

func (c *client) logIn() {
	c.t.Helper()
	status, body := c.ask(http.MethodPost, "/tokens", fmt.Sprintf(`{"identity": %q, "secret": %q}`, email, secret))
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		c.t.Fatalf("logging in: %d %s", status, body)
	}
	c.token = answer.Token
}

func host(name, port, advanced string) string {
	return fmt.Sprintf(`{"domain_names": [%q], "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": %s, "advanced_config": %q}`, name, port, advanced)
}

func TestProxyLeadsToTheHostsPort(t *testing.T) {
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "behind: "+r.Host)
	}))
	defer behind.Close()
	_, port, _ := net.SplitHostPort(behind.Listener.Addr().String())
	root := container(t, resolver)
	o, s, stop := start(t, root, admin(), nil)
	standintest.Eventually(t, "it is healthy", func() error { return s.Healthy(t.Context()) })
	c := &client{t: t, api: "http://" + o.Admin + "/api"}
	c.logIn()
	for _, h := range []string{host("a.example", port, ""), host("b.example", "1", ""), host("c.example", port, "client_max_body_size 0;\n# a comment\ngzip on;")} {
		if status, body := c.ask(http.MethodPost, "/nginx/proxy-hosts", h); status != http.StatusCreated {
			t.Fatalf("%s: %d %s", h, status, body)
		}
	}
	check := func(o Options) {
		t.Helper()
		for name, want := range map[string]struct {
			status int
			text   string
		}{
			"a.example": {200, "behind:"}, "A.Example:80": {200, "behind:"}, "b.example": {502, "does not answer"},
			"c.example": {200, "behind:"}, "d.example": {200, "Congratulations"},
		} {
			req := httptest.NewRequest(http.MethodGet, "http://"+o.HTTP+"/", nil).WithContext(t.Context())
			req.RequestURI, req.Host = "", name
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != want.status || !strings.Contains(string(body), want.text) {
				t.Errorf("%s: %d %s (%v)", name, resp.StatusCode, body, err)
			}
		}
		if conn, err := tls.Dial("tcp", o.HTTPS, &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}); err == nil {
			conn.Close()
			t.Error("a host without a certificate has one")
		}
	}
	check(o)

	stop()
	o, s, _ = start(t, root, service.Env{}, nil)
	standintest.Eventually(t, "it is healthy again", func() error { return s.Healthy(t.Context()) })
	check(o)
	(&client{t: t, api: "http://" + o.Admin + "/api"}).logIn()
}

func TestWithoutANameServerOnlyTheBackendAnswers(t *testing.T) {
	o, s, _ := start(t, container(t, "# none\nsearch lan\n"), admin(), nil)
	c := &client{t: t, api: "http://" + o.Backend}
	standintest.Eventually(t, "the backend answers", func() error { return service.Probe(t.Context(), http.DefaultClient, c.api+"/") })
	for _, addr := range []string{o.Admin, o.HTTP, o.HTTPS} {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("nginx listens on %s", addr)
		}
	}
	if err := s.Healthy(t.Context()); err == nil {
		t.Error("it is healthy")
	}
	c.logIn()
	if status, body := c.ask(http.MethodPost, "/nginx/proxy-hosts", host("a.example", "1", "")); status != http.StatusInternalServerError {
		t.Errorf("a host: %d %s", status, body)
	}
	if status, body := c.ask(http.MethodPost, "/nginx/proxy-hosts", host("a.example", "1", "")); status != http.StatusBadRequest || !strings.Contains(body, "a.example is already in use") {
		t.Errorf("the host is not kept: %d %s", status, body)
	}
}

func TestBackendListensAfterTheRangesWereFetched(t *testing.T) {
	fetching, fetched := make(chan struct{}), make(chan struct{})
	o, s, _ := start(t, container(t, resolver), admin(), func(ctx context.Context) error {
		close(fetching)
		<-fetched
		return errors.New("no such host")
	})
	<-fetching
	standintest.Eventually(t, "nginx listens", func() error {
		conn, err := net.Dial("tcp", o.Admin)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if conn, err := net.Dial("tcp", o.Backend); err == nil {
		conn.Close()
		t.Error("the backend listens already")
	}
	c := &client{t: t, api: "http://" + o.Admin + "/api"}
	if status, _ := c.ask(http.MethodGet, "/", ""); status != http.StatusBadGateway {
		t.Errorf("without a backend: %d", status)
	}
	close(fetched)
	standintest.Eventually(t, "it is healthy", func() error { return s.Healthy(t.Context()) })
}

func TestRangesAreNotFetchedWhenTheVariableSaysSo(t *testing.T) {
	env := admin()
	env["IP_RANGES_FETCH_ENABLED"] = "false"
	_, s, _ := start(t, container(t, resolver), env, func(context.Context) error {
		t.Error("the ranges are fetched")
		return nil
	})
	standintest.Eventually(t, "it is healthy", func() error { return s.Healthy(t.Context()) })
}

func TestFirstUserIsAnAdministrator(t *testing.T) {
	o, s, _ := start(t, container(t, resolver), service.Env{"INITIAL_ADMIN_EMAIL": email}, nil)
	standintest.Eventually(t, "it is healthy", func() error { return s.Healthy(t.Context()) })
	c := &client{t: t, api: "http://" + o.Admin + "/api"}
	if _, body := c.ask(http.MethodGet, "/", ""); !strings.Contains(body, `"setup":false`) {
		t.Errorf("half of the administrator's variables made one: %s", body)
	}
	made := fmt.Sprintf(`{"name": "A", "nickname": "a", "email": %q, "auth": {"type": "password", "secret": %q}}`, email, secret)
	if status, body := c.ask(http.MethodPost, "/users", made); status != http.StatusCreated || !strings.Contains(body, `"admin"`) {
		t.Errorf("the first user: %d %s", status, body)
	}
	if status, body := c.ask(http.MethodPost, "/users", made); status != http.StatusNotFound {
		t.Errorf("the second without a token: %d %s", status, body)
	}
	c.logIn()
}

func TestMountsAreNeeded(t *testing.T) {
	err := New(service.Env{}, Options{Root: t.TempDir()}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "/data is not mounted") || !strings.Contains(err.Error(), "/etc/letsencrypt is not mounted") {
		t.Errorf("got %v", err)
	}
}
