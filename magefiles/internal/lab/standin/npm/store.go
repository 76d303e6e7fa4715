package npm

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// user is one as the API shows it.
type user struct {
	ID          int               `json:"id"`
	CreatedOn   string            `json:"created_on"`
	ModifiedOn  string            `json:"modified_on"`
	IsDisabled  bool              `json:"is_disabled"`
	Email       string            `json:"email"`
	Name        string            `json:"name"`
	Nickname    string            `json:"nickname"`
	Avatar      string            `json:"avatar"`
	Roles       []string          `json:"roles"`
	Permissions map[string]string `json:"permissions,omitempty"`
}

func (u user) admin() bool { return slices.Contains(u.Roles, "admin") }

// proxyHost is a proxy host as the API shows it.
type proxyHost struct {
	ID                  int            `json:"id"`
	CreatedOn           string         `json:"created_on"`
	ModifiedOn          string         `json:"modified_on"`
	OwnerUserID         int            `json:"owner_user_id"`
	DomainNames         []string       `json:"domain_names"`
	ForwardScheme       string         `json:"forward_scheme"`
	ForwardHost         string         `json:"forward_host"`
	ForwardPort         int            `json:"forward_port"`
	AccessListID        int            `json:"access_list_id"`
	CertificateID       int            `json:"certificate_id"`
	SSLForced           bool           `json:"ssl_forced"`
	CachingEnabled      bool           `json:"caching_enabled"`
	BlockExploits       bool           `json:"block_exploits"`
	AdvancedConfig      string         `json:"advanced_config"`
	Meta                map[string]any `json:"meta"`
	Websockets          bool           `json:"allow_websocket_upgrade"`
	HTTP2               bool           `json:"http2_support"`
	Enabled             bool           `json:"enabled"`
	Locations           []any          `json:"locations"`
	HSTS                bool           `json:"hsts_enabled"`
	HSTSSubdomains      bool           `json:"hsts_subdomains"`
	TrustForwardedProto bool           `json:"trust_forwarded_proto"`
}

func (h proxyHost) named(name string) bool {
	return slices.ContainsFunc(h.DomainNames, func(n string) bool { return strings.EqualFold(n, name) })
}

// account is a user with what its password makes of the key: the password
// itself is not kept.
type account struct {
	User   user   `json:"user"`
	Secret []byte `json:"secret"`
}

// store is the database: one file, written again with every change.
type store struct {
	dir string

	mu   sync.Mutex
	data struct {
		Key        []byte      `json:"key"`
		LastUserID int         `json:"last_user_id"`
		Accounts   []account   `json:"accounts"`
		LastHostID int         `json:"last_host_id"`
		Hosts      []proxyHost `json:"hosts"`
	}
}

func openStore(dir string) (*store, error) {
	s := &store{dir: dir}
	if err := os.MkdirAll(s.path("/data/nginx/proxy_host"), 0o755); err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	b, err := os.ReadFile(s.path("/data/database.json"))
	if errors.Is(err, os.ErrNotExist) {
		s.data.Key = make([]byte, 32)
		rand.Read(s.data.Key)
		return s, s.save()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := json.Unmarshal(b, &s.data); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.path("/data/database.json"), err)
	}
	return s, nil
}

// path is where a file of /data is.
func (s *store) path(name string) string {
	return filepath.Join(s.dir, strings.TrimPrefix(name, "/data"))
}

// save needs the lock. A power cut leaves the old file or the new one.
func (s *store) save() error {
	b, err := json.Marshal(s.data)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(s.path("/data/database.json"), b, 0o600); err != nil {
		return fmt.Errorf("saving the database: %w", err)
	}
	return nil
}

func (s *store) sign(message string) []byte {
	mac := hmac.New(sha256.New, s.data.Key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

func (s *store) isSetUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.data.Accounts) > 0
}

// setUp makes the first administrator.
func (s *store) setUp(email, password string) error {
	_, err := s.addUser(user{Email: email, Name: "Administrator", Nickname: "Admin", Roles: []string{"admin"}}, password)
	return err
}

// addUser makes a user, also where another has the same address: the real one
// does not look. A user without a password can not log in.
func (s *store) addUser(u user, password string) (user, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.LastUserID++
	u.ID, u.CreatedOn = s.data.LastUserID, now()
	u.ModifiedOn = u.CreatedOn
	u.Permissions = map[string]string{"visibility": "user"}
	if u.admin() {
		u.Permissions["visibility"] = "all"
	}
	for _, kind := range []string{"proxy_hosts", "redirection_hosts", "dead_hosts", "streams", "access_lists", "certificates"} {
		u.Permissions[kind] = "manage"
	}
	a := account{User: u}
	if password != "" {
		a.Secret = s.sign(password)
	}
	s.data.Accounts = append(s.data.Accounts, a)
	return u, s.save()
}

func now() string { return time.Now().Format(time.DateTime) }

func (s *store) users() []user {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := make([]user, len(s.data.Accounts))
	for i, a := range s.data.Accounts {
		users[i] = a.User
	}
	slices.SortStableFunc(users, func(a, b user) int { return strings.Compare(a.Name, b.Name) })
	return users
}

func (s *store) user(id int) (user, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.indexOfUser(id)
	if at < 0 {
		return user{}, false
	}
	return s.data.Accounts[at].User, true
}

func (s *store) indexOfUser(id int) int {
	return slices.IndexFunc(s.data.Accounts, func(a account) bool { return a.User.ID == id })
}

// changeUser changes a user that is there.
func (s *store) changeUser(id int, change func(*user)) (user, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &s.data.Accounts[s.indexOfUser(id)].User
	change(u)
	u.ModifiedOn = now()
	return *u, s.save()
}

func (s *store) setPassword(id int, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Accounts[s.indexOfUser(id)].Secret = s.sign(password)
	return s.save()
}

func (s *store) removeUser(id int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Accounts = slices.Delete(s.data.Accounts, s.indexOfUser(id), s.indexOfUser(id)+1)
	return s.save()
}

// logIn returns the user whose address and password these are.
func (s *store) logIn(email, password string) (user, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	email = strings.ToLower(strings.TrimSpace(email))
	at := slices.IndexFunc(s.data.Accounts, func(a account) bool { return a.User.Email == email && !a.User.IsDisabled })
	if at < 0 {
		return user{}, false
	}
	a := s.data.Accounts[at]
	return a.User, a.Secret != nil && hmac.Equal(a.Secret, s.sign(password))
}

// token makes one that outlives a restart, as the key does.
func (s *store) token(id int, expires time.Time) string {
	payload := fmt.Sprintf("%d %s", id, expires.UTC().Format(time.RFC3339))
	s.mu.Lock()
	defer s.mu.Unlock()
	return base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + base64.RawURLEncoding.EncodeToString(s.sign(payload))
}

var (
	errForged  = errors.New("the token is not one of ours")
	errExpired = errors.New("the token has expired")
)

// bearer returns the id of the user that a token was made for.
func (s *store) bearer(token string) (int, error) {
	encoded, signature, _ := strings.Cut(token, ".")
	payload, err1 := base64.RawURLEncoding.DecodeString(encoded)
	mac, err2 := base64.RawURLEncoding.DecodeString(signature)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err1 != nil || err2 != nil || !hmac.Equal(mac, s.sign(string(payload))) {
		return 0, errForged
	}
	var id int
	var until string
	if _, err := fmt.Sscanf(string(payload), "%d %s", &id, &until); err != nil {
		return 0, errForged
	}
	expires, err := time.Parse(time.RFC3339, until)
	if err != nil {
		return 0, errForged
	}
	if time.Now().After(expires) {
		return 0, errExpired
	}
	return id, nil
}

func (s *store) hosts() []proxyHost {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append([]proxyHost{}, s.data.Hosts...)
	slices.SortFunc(all, func(a, b proxyHost) int { return slices.Compare(a.DomainNames, b.DomainNames) })
	return all
}

func (s *store) host(id int) (proxyHost, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.data.Hosts, func(h proxyHost) bool { return h.ID == id })
	if at < 0 {
		return proxyHost{}, false
	}
	return s.data.Hosts[at], true
}

// taken returns the first of the names that another host has.
func (s *store) taken(names []string, except int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if slices.ContainsFunc(s.data.Hosts, func(h proxyHost) bool { return h.ID != except && h.named(name) }) {
			return name
		}
	}
	return ""
}

// put replaces the host of the same id, or adds it if it has none.
func (s *store) put(h proxyHost) (proxyHost, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.ModifiedOn = now()
	if h.ID == 0 {
		s.data.LastHostID++
		h.ID, h.CreatedOn = s.data.LastHostID, h.ModifiedOn
		s.data.Hosts = append(s.data.Hosts, h)
	} else {
		s.data.Hosts[slices.IndexFunc(s.data.Hosts, func(old proxyHost) bool { return old.ID == h.ID })] = h
	}
	return h, s.save()
}

func (s *store) removeHost(id int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Hosts = slices.DeleteFunc(s.data.Hosts, func(h proxyHost) bool { return h.ID == id })
	return s.save()
}

// serving returns the proxy host that answers for a name.
func (s *store) serving(name string) (proxyHost, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.data.Hosts, func(h proxyHost) bool { return h.Enabled && h.Meta["nginx_online"] == true && h.named(name) })
	if at < 0 {
		return proxyHost{}, false
	}
	return s.data.Hosts[at], true
}
