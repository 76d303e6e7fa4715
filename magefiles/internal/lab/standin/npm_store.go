package standin

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
)

// proxyHost is a proxy host as the API shows it.
type proxyHost struct {
	ID             int            `json:"id"`
	CreatedOn      time.Time      `json:"created_on"`
	ModifiedOn     time.Time      `json:"modified_on"`
	OwnerUserID    int            `json:"owner_user_id"`
	DomainNames    []string       `json:"domain_names"`
	ForwardScheme  string         `json:"forward_scheme"`
	ForwardHost    string         `json:"forward_host"`
	ForwardPort    int            `json:"forward_port"`
	AccessListID   int            `json:"access_list_id"`
	CertificateID  int            `json:"certificate_id"`
	SSLForced      bool           `json:"ssl_forced"`
	CachingEnabled bool           `json:"caching_enabled"`
	BlockExploits  bool           `json:"block_exploits"`
	AdvancedConfig string         `json:"advanced_config"`
	Meta           map[string]any `json:"meta"`
	Websockets     bool           `json:"allow_websocket_upgrade"`
	HTTP2          bool           `json:"http2_support"`
	Enabled        bool           `json:"enabled"`
	Locations      []any          `json:"locations"`
	HSTS           bool           `json:"hsts_enabled"`
	HSTSSubdomains bool           `json:"hsts_subdomains"`
}

// administrator is the one user; the password is not kept, only what it makes
// of the key.
type administrator struct {
	Email  string `json:"email"`
	Secret []byte `json:"secret"`
}

// npmStore is the database: one file, written whole with every change.
type npmStore struct {
	path string

	mu   sync.Mutex
	data struct {
		Key    []byte         `json:"key"`
		Admin  *administrator `json:"admin"`
		LastID int            `json:"last_id"`
		Hosts  []proxyHost    `json:"hosts"`
	}
}

func openStore(dir string) (*npmStore, error) {
	s := &npmStore{path: filepath.Join(dir, "database.json")}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, os.ErrNotExist) {
		s.data.Key = make([]byte, 32)
		rand.Read(s.data.Key)
		return s, os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	if err := json.Unmarshal(b, &s.data); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.path, err)
	}
	return s, nil
}

// setUp makes the first administrator if there is none, and only if both its
// address and password are given.
func (s *npmStore) setUp(email, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data.Admin == nil && email != "" && password != "" {
		s.data.Admin = &administrator{Email: strings.ToLower(email), Secret: s.sign(password)}
	}
	return s.save()
}

func (s *npmStore) isSetUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.Admin != nil
}

func (s *npmStore) sign(message string) []byte {
	mac := hmac.New(sha256.New, s.data.Key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

// save needs the lock. A power cut leaves the old file or the new one.
func (s *npmStore) save() error {
	b, err := json.Marshal(s.data)
	if err != nil {
		return err
	}
	partial := s.path + ".partial"
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("saving the database: %w", err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("saving the database: %w", err)
	}
	return os.Rename(partial, s.path)
}

// logIn tells whether these are the administrator's.
func (s *npmStore) logIn(email, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	admin := s.data.Admin
	return admin != nil && admin.Email == strings.ToLower(strings.TrimSpace(email)) && hmac.Equal(admin.Secret, s.sign(password))
}

// token makes one that outlives a restart, as the key does.
func (s *npmStore) token(expires time.Time) string {
	until := expires.UTC().Format(time.RFC3339)
	return base64.RawURLEncoding.EncodeToString([]byte(until)) + "." + base64.RawURLEncoding.EncodeToString(s.sign(until))
}

var (
	errForged  = errors.New("the token is not one of ours")
	errExpired = errors.New("the token has expired")
)

func (s *npmStore) checkToken(token string) error {
	payload, signature, _ := strings.Cut(token, ".")
	until, err1 := base64.RawURLEncoding.DecodeString(payload)
	mac, err2 := base64.RawURLEncoding.DecodeString(signature)
	if err1 != nil || err2 != nil || !hmac.Equal(mac, s.sign(string(until))) {
		return errForged
	}
	expires, err := time.Parse(time.RFC3339, string(until))
	if err != nil {
		return errForged
	}
	if time.Now().After(expires) {
		return errExpired
	}
	return nil
}

func (s *npmStore) hosts() []proxyHost {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.data.Hosts)
	slices.SortFunc(all, func(a, b proxyHost) int {
		return slices.Compare(a.DomainNames, b.DomainNames)
	})
	return all
}

// add makes a proxy host, unless one of its names is taken.
func (s *npmStore) add(host proxyHost) (_ proxyHost, taken string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range host.DomainNames {
		if slices.ContainsFunc(s.data.Hosts, func(h proxyHost) bool { return h.named(name) }) {
			return proxyHost{}, name, nil
		}
	}
	s.data.LastID++
	host.ID, host.OwnerUserID = s.data.LastID, 1
	host.CreatedOn = time.Now().UTC().Truncate(time.Second)
	host.ModifiedOn = host.CreatedOn
	s.data.Hosts = append(s.data.Hosts, host)
	return host, "", s.save()
}

func (s *npmStore) remove(id int) (found bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.data.Hosts)
	s.data.Hosts = slices.DeleteFunc(s.data.Hosts, func(h proxyHost) bool { return h.ID == id })
	if len(s.data.Hosts) == before {
		return false, nil
	}
	return true, s.save()
}

// serving returns the proxy host that answers for a name.
func (s *npmStore) serving(name string) (proxyHost, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.data.Hosts, func(h proxyHost) bool { return h.Enabled && h.named(name) })
	if at < 0 {
		return proxyHost{}, false
	}
	return s.data.Hosts[at], true
}

func (h proxyHost) named(name string) bool {
	return slices.ContainsFunc(h.DomainNames, func(n string) bool { return strings.EqualFold(n, name) })
}
