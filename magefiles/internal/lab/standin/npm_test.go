package standin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// npmClient asks the administration API.
type npmClient struct {
	t          *testing.T
	url, token string
}

// ask returns the status and, of an error, its message.
func (c *npmClient) ask(method, path, body string, into any) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode < 300 && into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			c.t.Fatalf("%s: %v", b, err)
		}
		return resp.StatusCode, ""
	}
	var problem struct{ Error struct{ Message string } }
	if resp.StatusCode >= 300 {
		if err := json.Unmarshal(b, &problem); err != nil {
			c.t.Fatalf("%s: %v", b, err)
		}
	}
	return resp.StatusCode, problem.Error.Message
}

func (c *npmClient) logIn(email, password string) {
	c.t.Helper()
	var got struct{ Token, Expires string }
	if status, message := c.ask("POST", "/tokens", fmt.Sprintf(`{"identity": %q, "secret": %q}`, email, password), &got); status != 200 || got.Token == "" {
		c.t.Fatalf("logging in: %d %s", status, message)
	}
	c.token = got.Token
}

func (c *npmClient) add(name, port string) {
	c.t.Helper()
	body := fmt.Sprintf(`{"domain_names": [%q], "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": %s}`, name, port)
	if status, message := c.ask("POST", "/nginx/proxy-hosts", body, nil); status != 201 {
		c.t.Fatalf("adding %s: %d %s", name, status, message)
	}
}

func (c *npmClient) names() (names []string) {
	c.t.Helper()
	var hosts []proxyHost
	if status, message := c.ask("GET", "/nginx/proxy-hosts", "", &hosts); status != 200 {
		c.t.Fatalf("listing: %d %s", status, message)
	}
	for _, h := range hosts {
		names = append(names, h.DomainNames...)
	}
	return names
}

// newNPMClient serves the API of a data directory, as a container that is
// started with these variables does.
func newNPMClient(t *testing.T, dir, email, password string) (*npmClient, *npmStore) {
	t.Helper()
	store, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.setUp(email, password); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(newNPMAPI(store))
	t.Cleanup(srv.Close)
	return &npmClient{t: t, url: srv.URL}, store
}

func TestNPMKeepsWhatItIsTold(t *testing.T) {
	dir := t.TempDir()
	first, _ := newNPMClient(t, dir, "Admin@CubeOS.cube", "secret")
	first.logIn(" admin@cubeos.cube ", "secret")
	if got := first.names(); got != nil {
		t.Errorf("a new one has the hosts %q", got)
	}
	first.add("b.cube", "81")
	first.add("a.cube", "82")

	// Another container with the same volume; the variables are for the first
	// start only, and a token outlives it.
	again, _ := newNPMClient(t, dir, "other@cubeos.cube", "other")
	again.token = first.token
	if diff := cmp.Diff([]string{"a.cube", "b.cube"}, again.names()); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	again.logIn("admin@cubeos.cube", "secret")
	if status, message := again.ask("POST", "/tokens", `{"identity": "other@cubeos.cube", "secret": "other"}`, nil); status != 400 {
		t.Errorf("the second administrator: %d %s", status, message)
	}
	var gone bool
	if status, message := again.ask("DELETE", "/nginx/proxy-hosts/1", "", &gone); status != 200 || !gone {
		t.Errorf("removing: %d %s", status, message)
	}
	if diff := cmp.Diff([]string{"a.cube"}, again.names()); diff != "" {
		t.Errorf("after one was removed (-want +got):\n%s", diff)
	}
}

func TestNPMRefusesAsTheRealOneDoes(t *testing.T) {
	c, store := newNPMClient(t, t.TempDir(), "admin@cubeos.cube", "secret")
	valid := store.token(time.Now().Add(time.Hour))
	const host = `{"domain_names": ["%s"], "forward_scheme": "%s", "forward_host": "h", "forward_port": %s}`
	for _, tt := range []struct {
		token, method, path, body string
		status                    int
		message                   string
	}{
		{"", "POST", "/tokens", `{"identity": "admin@cubeos.cube", "secret": "wrong"}`, 400, "Invalid email or password"},
		{"", "POST", "/tokens", `{"identity": "admin@cubeos.cube"}`, 400, "required property 'secret'"},
		{"", "POST", "/tokens", `{"identity": "a", "secret": "b", "more": 1}`, 400, "must NOT have additional properties"},
		{"", "GET", "/nginx/proxy-hosts", "", 403, "Permission Denied"},
		{"forged.token", "GET", "/nginx/proxy-hosts", "", 500, "Internal Error"},
		{store.token(time.Now().Add(-time.Hour)), "GET", "/nginx/proxy-hosts", "", 400, "Token has expired"},
		{valid, "POST", "/nginx/proxy-hosts", fmt.Sprintf(host, "a.cube", "http", "1"), 201, ""},
		{valid, "POST", "/nginx/proxy-hosts", fmt.Sprintf(host, "A.cube", "http", "1"), 400, "A.cube is already in use"},
		{valid, "POST", "/nginx/proxy-hosts", fmt.Sprintf(host, "b cube", "http", "1"), 400, "must match pattern"},
		{valid, "POST", "/nginx/proxy-hosts", fmt.Sprintf(host, "b.cube", "ftp", "1"), 400, "allowed values"},
		{valid, "POST", "/nginx/proxy-hosts", fmt.Sprintf(host, "b.cube", "http", "70000"), 400, "must be <= 65535"},
		{valid, "POST", "/nginx/proxy-hosts", `{"domains": ["b.cube"]}`, 400, "must NOT have additional properties"},
		{valid, "DELETE", "/nginx/proxy-hosts/7", "", 404, "Not Found - 7"},
		{valid, "GET", "/nginx/nothing", "", 404, "Not Found"},
	} {
		c.token = tt.token
		if status, message := c.ask(tt.method, tt.path, tt.body, nil); status != tt.status || !strings.Contains(message, tt.message) {
			t.Errorf("%s %s %s: %d %q, want %d %q", tt.method, tt.path, tt.body, status, message, tt.status, tt.message)
		}
	}
}
