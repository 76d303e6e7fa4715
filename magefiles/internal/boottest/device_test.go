package boottest

import "testing"

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
