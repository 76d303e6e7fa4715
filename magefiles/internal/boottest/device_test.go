package boottest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

func TestForwards(t *testing.T) {
	got := forwards(services.List{
		{Ports: []services.Port{{Port: 53, Protocols: []string{"tcp", "udp"}}, {Port: 6001, Protocols: []string{"tcp"}}}},
		{Ports: []services.Port{{Port: 6011, Target: 8087, Protocols: []string{"tcp"}}, {Port: 5000, Protocols: []string{"tcp"}, Reach: services.Device}}},
	})
	want := []machine.Forward{
		{Proto: "tcp", Guest: 22}, {Proto: "tcp", Guest: 53}, {Proto: "udp", Guest: 53},
		{Proto: "tcp", Guest: 6001}, {Proto: "tcp", Guest: 6011}, {Proto: "tcp", Guest: 5000},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCmdline(t *testing.T) {
	const added = " console=ttyAMA0 systemd.default_device_timeout_sec=450 systemd.default_timeout_start_sec=450 modules_load=mac80211_hwsim"
	for own, want := range map[string]string{
		"console=tty1 root=x rootwait":   "console=tty1 root=x rootwait" + added,
		"root=x quiet splash":            "root=x quiet splash" + added + " loglevel=7",
		"root=x systemd.quiet=1 unquiet": "root=x systemd.quiet=1 unquiet" + added,
	} {
		if got := cmdline(own, Device{}); got != want {
			t.Errorf("cmdline(%q) = %q, want %q", own, got, want)
		}
	}
}
