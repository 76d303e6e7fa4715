package scenario

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// mute is a real device that says nothing.
type mute struct{}

func (mute) Run(context.Context, string) (string, error)                       { return "", nil }
func (mute) HTTP(context.Context, string, int, string) (int, error)            { return 0, nil }
func (mute) Accepts(context.Context, int) (bool, error)                        { return false, nil }
func (mute) LookupA(context.Context, string, string) ([]string, string, error) { return nil, "", nil }
func (mute) Lookup(context.Context, string, string, string) ([]string, string, error) {
	return nil, "", nil
}
func (mute) Addr(string, int) (string, error)                                   { return "", errors.New("nobody is there") }
func (mute) Reboot(context.Context) error                                       { return nil }
func (mute) Restart(ctx context.Context, how func(context.Context) error) error { return how(ctx) }

// TestChecksSayWhatTheyNeedOfTheEmulator asks a real device every check that claims to
// need no emulator: none may use one, nor what only one records.
func TestChecksSayWhatTheyNeedOfTheEmulator(t *testing.T) {
	for _, sc := range all(t, everyService(t)) {
		for _, p := range sc.Phases {
			for _, c := range p.Checks {
				if c.Needs == "" {
					asksOnlyTheDevice(t, sc.Name+": "+p.Name+": "+c.Name, c)
				}
			}
		}
	}
}

func asksOnlyTheDevice(t *testing.T, name string, c boottest.Check) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%s: it does not say what it needs of the emulator: %v", name, p)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &boottest.Subject{Target: mute{}, Alive: ctx, Dir: filepath.Join(t.TempDir(), "none")}
	if _, err := c.Ask(ctx, s); errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: it does not say that it needs a record of the emulator's: %v", name, err)
	}
}

// TestOnHardware wants what a real device goes through, and how far, to be chosen and
// not to happen.
func TestOnHardware(t *testing.T) {
	got := map[string][]string{}
	var harmless []string
	for _, sc := range all(t, everyService(t)) {
		phases, why := sc.OnHardware()
		if len(phases) == len(sc.Phases) == (why != "") {
			t.Errorf("%s: %d of %d phases, because %q", sc.Name, len(phases), len(sc.Phases), why)
		}
		if len(phases) == 0 {
			if sc.Harmless {
				t.Errorf("%s is harmless and can not be played: %s", sc.Name, why)
			}
			continue
		}
		if sc.Harmless {
			harmless = append(harmless, sc.Name)
		}
		for _, p := range phases {
			got[sc.Name] = append(got[sc.Name], p.Name)
			if !slices.ContainsFunc(p.Checks, func(c boottest.Check) bool { return c.Needs == "" }) {
				t.Errorf("%s: %s: there is nothing to ask", sc.Name, p.Name)
			}
		}
	}
	if diff := cmp.Diff([]string{"operational", "wizard", "documented-credentials", "base", "sockets", "ssh"}, harmless); diff != "" {
		t.Errorf("played on every device (-want +got):\n%s", diff)
	}
	for name, want := range map[string][]string{
		"operational":            {"first boot", "reboot"},
		"documented-credentials": {"log-ins"},
		"power-cut":              nil,
		"network-modes":          nil,
		"dashboard-network-mode": nil,
		"saved-network-mode":     nil,
		"setup-cut":              nil,
		"identity":               nil,
		"raspi3b":                nil,
		"as-hardware":            nil,
		"wizard-wifi":            nil,
		"factory-reset":          nil,
		"watchdog":               {"first boot", "hang"},
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s: phases (-want +got):\n%s", name, diff)
		}
	}
}
