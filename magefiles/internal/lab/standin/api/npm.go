package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	tokenFile      = "/cubeos/config/npm_api_token" //nolint:gosec // where it is kept
	serviceAccount = "api@cubeos.cube"
	humanAccount   = "admin@cubeos.cube"
)

// npm is Nginx Proxy Manager.
type npm struct {
	service *Service
	url     string

	mu    sync.Mutex
	token string
	ready bool
}

// start makes sure of an account at the proxy manager. Without one it tries for a
// minute before the API listens, and then on in the background.
func (n *npm) start(ctx context.Context) error {
	err := n.existing(ctx)
	for attempt := 1; err != nil && attempt <= 3; attempt++ {
		if err = n.bootstrap(ctx); err == nil {
			break
		}
		log.Printf("WRN NPM: bootstrap failed, retrying... attempt=%d %v", attempt, err)
		if err := n.service.options.Sleep(ctx, time.Duration(10*attempt)*time.Second); err != nil {
			return err
		}
	}
	if err != nil {
		log.Printf("WRN NPM: bootstrap failed after 3 attempts, starting background retry: %v", err)
		go n.keepTrying(ctx)
		return nil
	}
	n.initialised()
	n.ensureHosts(ctx)
	return nil
}

func (n *npm) initialised() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready = true
}

// keepTrying makes no proxy hosts when it succeeds: those wait for the next start.
func (n *npm) keepTrying(ctx context.Context) {
	for range 20 {
		if n.service.options.Sleep(ctx, 30*time.Second) != nil {
			return
		}
		if n.existing(ctx) == nil || n.bootstrap(ctx) == nil {
			log.Print("INF NPM: background init succeeded")
			n.initialised()
			return
		}
	}
	log.Print("WRN NPM: background init gave up after 20 attempts (~10 min)")
}

// existing uses the token of the last run, or else the service account.
func (n *npm) existing(ctx context.Context) error {
	if token, err := os.ReadFile(n.service.path(tokenFile)); err == nil {
		n.setToken(strings.TrimSpace(string(token)))
		if got, err := n.request(ctx, http.MethodGet, "/api/users/me", nil); err == nil && got.status == http.StatusOK {
			return nil
		}
		n.setToken("")
	}
	password := n.password()
	if password == "" {
		return errors.New("there is no NPM_API_PASSWORD")
	}
	return n.logIn(ctx, serviceAccount, password)
}

// password is the service account's: the file goes before the environment.
func (n *npm) password() string {
	if password := n.service.files.get(n.service.path(secretsFile), "NPM_API_PASSWORD"); password != "" {
		return password
	}
	return n.service.env["NPM_API_PASSWORD"]
}

func (n *npm) setToken(token string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.token = token
}

func (n *npm) request(ctx context.Context, method, path string, body any) (answer, error) {
	n.mu.Lock()
	header := map[string]string{}
	if n.token != "" {
		header["Authorization"] = "Bearer " + n.token
	}
	n.mu.Unlock()
	return ask(ctx, &http.Client{Timeout: 30 * time.Second}, method, n.url+path, header, body)
}

func (n *npm) logIn(ctx context.Context, email, password string) error {
	got, err := n.request(ctx, http.MethodPost, "/api/tokens", map[string]string{"identity": email, "secret": password})
	if err != nil {
		return fmt.Errorf("failed to request token: %w", err)
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(got.body, &answer); got.status != http.StatusOK || err != nil || answer.Token == "" {
		return fmt.Errorf("authentication failed (%d): %s", got.status, strings.TrimSpace(string(got.body)))
	}
	n.setToken(answer.Token)
	if err := os.WriteFile(n.service.path(tokenFile), []byte(answer.Token), 0o600); err != nil {
		log.Printf("WRN NPM: failed to save token: %v", err)
	}
	return nil
}

type npmUser struct {
	ID    int    `json:"id"`
	Email string `json:"email"`
}

func (n *npm) users(ctx context.Context) ([]npmUser, error) {
	got, err := n.request(ctx, http.MethodGet, "/api/users", nil)
	if err != nil {
		return nil, err
	}
	var users []npmUser
	if err := json.Unmarshal(got.body, &users); err != nil || got.status != http.StatusOK {
		return nil, fmt.Errorf("failed to list users: %d - %s", got.status, got.body)
	}
	return users, nil
}

// bootstrap makes the service account as an administrator, in a way that version
// 2.14 of the proxy manager refuses.
func (n *npm) bootstrap(ctx context.Context) error {
	env := n.service.env
	email, password := env.Or("CUBEOS_NPM_EMAIL", env["NPM_ADMIN_EMAIL"]), env.Or("CUBEOS_NPM_PASSWORD", env["NPM_ADMIN_PASSWORD"])
	if email == "" {
		email = humanAccount
	}
	err := errors.New("no credentials")
	for _, known := range []struct{ email, password string }{
		{email, password},
		{email, n.service.files.get(n.service.path(secretsFile), "CUBEOS_NPM_PASSWORD")},
		{"admin@example.com", "changeme"},
	} {
		if known.password == "" {
			continue
		}
		if err = n.logIn(ctx, known.email, known.password); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("admin authentication failed (tried configured + secrets.env + defaults): %w", err)
	}
	users, err := n.users(ctx)
	if err != nil {
		return err
	}
	random := make([]byte, 16)
	rand.Read(random)
	secret := hex.EncodeToString(random)
	if at := slices.IndexFunc(users, func(u npmUser) bool { return u.Email == serviceAccount }); at >= 0 {
		return n.resetAccount(ctx, users[at].ID, secret)
	}
	return n.makeAccount(ctx, secret)
}

func (n *npm) makeAccount(ctx context.Context, secret string) error {
	got, err := n.request(ctx, http.MethodPost, "/api/users", map[string]any{
		"name": "CubeOS API", "nickname": "api", "email": serviceAccount, "roles": []string{"admin"}, "is_disabled": false, "secret": secret,
	})
	if err == nil && !got.good() {
		err = fmt.Errorf("failed to create user: %d - %s", got.status, got.body)
	}
	if err != nil {
		return fmt.Errorf("failed to create service account: %w", err)
	}
	return n.saveAccount(ctx, secret)
}

func (n *npm) resetAccount(ctx context.Context, id int, secret string) error {
	current := n.password()
	if current == "" {
		if _, err := n.request(ctx, http.MethodDelete, fmt.Sprintf("/api/users/%d", id), nil); err != nil {
			return fmt.Errorf("failed to delete old service account: %w", err)
		}
		return n.makeAccount(ctx, secret)
	}
	got, err := n.request(ctx, http.MethodPut, fmt.Sprintf("/api/users/%d/auth", id), map[string]string{"type": "password", "current": current, "secret": secret})
	if err == nil && !got.good() {
		err = fmt.Errorf("failed to update service account password: %d - %s", got.status, got.body)
	}
	if err != nil {
		return err
	}
	return n.saveAccount(ctx, secret)
}

func (n *npm) saveAccount(ctx context.Context, secret string) error {
	if err := n.service.files.set(n.service.path(secretsFile), 0o600, map[string]string{"NPM_API_PASSWORD": secret}); err != nil {
		return fmt.Errorf("failed to save service account password: %w", err)
	}
	return n.logIn(ctx, serviceAccount, secret)
}

type coreHost struct {
	name string
	port int
}

// coreHosts are those that the API makes, whatever DOMAIN is.
func coreHosts() []coreHost {
	return []coreHost{
		{"cubeos.cube", 6011}, {"api.cubeos.cube", 6010}, {"pihole.cubeos.cube", 6001}, {"npm.cubeos.cube", 81}, {"hal.cubeos.cube", 6005},
		{"dozzle.cubeos.cube", 6012}, {"registry.cubeos.cube", 5000}, {"docs.cubeos.cube", 6032}, {"terminal.cubeos.cube", 6042}, {"kiwix.cubeos.cube", 6043},
	}
}

// ensureHosts makes those whose name is not taken.
func (n *npm) ensureHosts(ctx context.Context) {
	got, err := n.request(ctx, http.MethodGet, "/api/nginx/proxy-hosts", nil)
	var hosts []struct {
		DomainNames []string `json:"domain_names"`
	}
	if err == nil {
		err = json.Unmarshal(got.body, &hosts)
	}
	if err != nil {
		log.Printf("WRN NPM: failed to seed core proxy rules: %v", err)
		return
	}
	taken := map[string]bool{}
	for _, h := range hosts {
		for _, name := range h.DomainNames {
			taken[name] = true
		}
	}
	for _, h := range coreHosts() {
		if taken[h.name] {
			continue
		}
		got, err := n.request(ctx, http.MethodPost, "/api/nginx/proxy-hosts", map[string]any{
			"domain_names": []string{h.name}, "forward_scheme": "http", "forward_host": n.service.env["GATEWAY_IP"], "forward_port": h.port,
			"certificate_id": 0, "ssl_forced": false, "hsts_enabled": false, "hsts_subdomains": false, "http2_support": false,
			"block_exploits": true, "caching_enabled": false, "allow_websocket_upgrade": true, "access_list_id": 0, "advanced_config": "",
			"enabled": true, "meta": map[string]any{"letsencrypt_agree": false, "dns_challenge": false}, "locations": []any{},
		})
		if err == nil && !got.good() {
			err = fmt.Errorf("%d - %s", got.status, got.body)
		}
		if err != nil {
			log.Printf("WRN NPM: failed to create core proxy rule %s: %v", h.name, err)
		}
	}
}

// setAdminPassword changes the administrator's password and records it, where
// the API has an account of its own.
func (n *npm) setAdminPassword(ctx context.Context, password string) error {
	n.mu.Lock()
	ready := n.ready
	n.mu.Unlock()
	if !ready {
		return errors.New("NPMManager not initialized — cannot sync admin password")
	}
	users, err := n.users(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(users, func(u npmUser) bool { return u.Email == humanAccount })
	if at < 0 {
		return fmt.Errorf("NPM human admin %s not found", humanAccount)
	}
	current := n.service.files.get(n.service.path(secretsFile), "CUBEOS_NPM_PASSWORD")
	switch current {
	case "":
		return errors.New("cannot read current admin password from secrets.env")
	case password:
		return nil
	}
	got, err := n.request(ctx, http.MethodPut, fmt.Sprintf("/api/users/%d/auth", users[at].ID), map[string]string{"type": "password", "current": current, "secret": password})
	if err == nil && !got.good() {
		err = fmt.Errorf("NPM returned %d for admin password update: %s", got.status, got.body)
	}
	if err != nil {
		return err
	}
	if err := n.service.files.set(n.service.path("/cubeos/coreapps/npm/.env"), 0o640, map[string]string{"NPM_ADMIN_PASSWORD": password}); err != nil {
		log.Printf("WRN failed to update npm .env file: %v", err)
	}
	return n.service.files.set(n.service.path(secretsFile), 0o640, map[string]string{"CUBEOS_NPM_PASSWORD": password})
}
