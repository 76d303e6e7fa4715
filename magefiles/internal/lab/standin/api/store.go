package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/google/renameio/v2"
	"golang.org/x/crypto/bcrypt"
)

// account is a user of the Dashboard.
type account struct {
	Hash  string `json:"hash"`
	Role  string `json:"role"`
	Email string `json:"email"`
}

// setupState is how far the wizard is.
type setupState struct {
	Complete    bool         `json:"complete"`
	CompletedAt string       `json:"completed_at,omitempty"`
	Config      *setupConfig `json:"config,omitempty"`
	// Workflow is what is being applied, or was when the power went.
	Workflow *workflow `json:"workflow,omitempty"`
}

// data is what the database holds.
type data struct {
	Accounts map[string]account `json:"accounts"`
	Setup    setupState         `json:"setup"`
	Mode     string             `json:"mode"`
	// Settings are those of the access point and of the system.
	Settings map[string]string `json:"settings"`
}

func (d data) clone() data {
	d.Accounts, d.Settings = maps.Clone(d.Accounts), maps.Clone(d.Settings)
	return d
}

// store is the database: one file, written again with every change.
type store struct {
	path string
	cost int // of a password's hash

	mu   sync.Mutex
	data data
}

// defaultPassword is admin's until it is changed.
const defaultPassword = "cubeos"

// openStore opens the database or makes it. A mode in the environment goes
// before the one that a new database has.
func openStore(path, mode string, cost int) (*store, error) {
	s := &store{path: path, cost: cost, data: data{Accounts: map[string]account{}, Mode: offlineHotspot, Settings: map[string]string{}}}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("failed to open database: %w", err)
	default:
		if err := json.Unmarshal(text, &s.data); err != nil {
			return nil, fmt.Errorf("failed to open database %s: %w", path, err)
		}
	}
	return s, s.change(func(d *data) error {
		if d.Mode == offlineHotspot && slices.Contains(modes(), mode) {
			d.Mode = mode
		}
		if _, there := d.Accounts["admin"]; there {
			return nil
		}
		hash, err := s.hash(defaultPassword)
		d.Accounts["admin"] = account{Hash: hash, Role: "admin"}
		return err
	})
}

func (s *store) hash(password string) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), s.cost)
	if err != nil {
		return "", fmt.Errorf("failed to hash password: %w", err)
	}
	return string(hash), nil
}

func (s *store) get() data {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.clone()
}

// change changes the data and keeps them, or leaves them as they are.
func (s *store) change(edit func(*data) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := s.data.clone()
	if err := edit(&changed); err != nil {
		return err
	}
	text, err := json.Marshal(changed)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(s.path, text, 0o600); err != nil {
		return fmt.Errorf("saving the database: %w", err)
	}
	s.data = changed
	return nil
}

// set keeps a setting.
func (s *store) set(settings map[string]string) error {
	return s.change(func(d *data) error {
		maps.Copy(d.Settings, settings)
		return nil
	})
}
