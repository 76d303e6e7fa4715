package device

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	apEnv       = "cubeos/config/ap.env"
	hostapdConf = "etc/hostapd/hostapd.conf"
	wifiWritten = "var/lib/cubeos/hostapd.conf.written"
	wifiNote    = "boot/firmware/cubeos-wifi.txt"
)

// wizardWrites is the hostapd.conf that the API writes for the set-up wizard
// (cubeos-app/api, internal/managers/setup.go, ConfigureWiFiAP).
func wizardWrites(ssid, key string) string {
	return "# CubeOS WiFi Access Point Configuration\ninterface=wlan0\ndriver=nl80211\nssid=" + ssid + `
hw_mode=g
channel=6
country_code=GR
wmm_enabled=0
macaddr_acl=0
auth_algs=1
ignore_broadcast_ssid=0
wpa=2
wpa_passphrase=` + key + `
wpa_key_mgmt=WPA-PSK
wpa_pairwise=TKIP
rsn_pairwise=CCMP
`
}

// settingsPageWrites is what it writes for the Dashboard's page of settings
// (internal/managers/network.go, applyAPConfig).
func settingsPageWrites(ssid, key string, channel int) string {
	return fmt.Sprintf("# CubeOS WiFi Access Point Configuration\n# Updated by API at 2026-03-01T00:00:00Z\n\ninterface=wlan0\ndriver=nl80211\n\nssid=%s\n\n"+
		"hw_mode=g\nchannel=%d\nieee80211n=1\nieee80211ac=0\n\nwpa=2\nwpa_passphrase=%s\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\n\n"+
		"wmm_enabled=1\nmacaddr_acl=0\nauth_algs=1\nignore_broadcast_ssid=1\nmax_num_sta=32\n\nlogger_syslog=-1\nlogger_stdout_level=2\n", ssid, channel, key)
}

func (d *fake) must(script string, args ...string) string {
	d.t.Helper()
	out, err := d.script(script, args)
	if err != nil {
		d.t.Fatalf("%s %v: %v\n%s", script, args, err, out)
	}
	return out
}

// hasLines wants lines of a file, whole.
func (d *fake) hasLines(path string, lines ...string) {
	d.t.Helper()
	content := "\n" + d.read(path)
	for _, line := range lines {
		if !strings.Contains(content, "\n"+line+"\n") {
			d.t.Errorf("%s has no line %q:\n%s", path, line, content)
		}
	}
}

func TestWiFiSettingsAreTakenOver(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		conf string
		ap   string // what ap.env then has
		has  []string
		says string
	}{
		"wizard": {
			conf: wizardWrites("Anna & Bob\\1", `pa$$ "wörd"`),
			ap:   "# mine\nCUBEOS_AP_SSID=Anna & Bob\\1\nCUBEOS_AP_KEY=pa$$ \"wörd\"\nCUBEOS_WIFI_COUNTRY=GR\nCUBEOS_AP_CHANNEL=6\nCUBEOS_AP_HIDDEN=0\n",
			has:  []string{`ssid=Anna & Bob\1`, `wpa_passphrase=pa$$ "wörd"`, "country_code=GR", "channel=6", "ignore_broadcast_ssid=0"},
			says: `access point: Anna & Bob\1, as hostapd.conf asks for`,
		},
		"settings page": {
			conf: settingsPageWrites("Nest", "12345678", 13),
			ap:   "# mine\nCUBEOS_WIFI_COUNTRY=DE\nCUBEOS_AP_SSID=Nest\nCUBEOS_AP_KEY=12345678\nCUBEOS_AP_CHANNEL=13\nCUBEOS_AP_HIDDEN=1\n",
			has:  []string{"ssid=Nest", "wpa_passphrase=12345678", "country_code=DE", "channel=13", "ignore_broadcast_ssid=1"},
			says: "access point: Nest",
		},
		"a channel of another band": {
			conf: settingsPageWrites("Nest", "12345678", 36),
			ap:   "# mine\nCUBEOS_WIFI_COUNTRY=DE\nCUBEOS_AP_SSID=Nest\nCUBEOS_AP_KEY=12345678\nCUBEOS_AP_HIDDEN=1\n",
			has:  []string{"ssid=Nest", "channel=6"},
			says: "WARNING: hostapd.conf asks for channel=36, which this access point can not do",
		},
		"names like placeholders": {
			conf: wizardWrites("@KEY@", "@SSID@@CHANNEL@"),
			ap:   "# mine\nCUBEOS_AP_SSID=@KEY@\nCUBEOS_AP_KEY=@SSID@@CHANNEL@\nCUBEOS_WIFI_COUNTRY=GR\nCUBEOS_AP_CHANNEL=6\nCUBEOS_AP_HIDDEN=0\n",
			has:  []string{"ssid=@KEY@", "wpa_passphrase=@SSID@@CHANNEL@"},
		},
		"the public pair":  {conf: wizardWrites("CubeOS", "cubeos1234"), says: "WARNING: the WiFi name CubeOS with the key cubeos1234 is known to everybody"},
		"empty":            {conf: "", says: "WARNING: hostapd.conf was written by somebody else and lacks a valid name and key"},
		"cut off":          {conf: strings.SplitAfter(wizardWrites("Anna", "12345678"), "wpa=2\n")[0], says: "lacks a valid name and key"},
		"cut off the key":  {conf: strings.SplitAfter(wizardWrites("Anna", "1234567890"), "wpa_passphrase=12345678")[0], says: "lacks a valid name and key"},
		"name too long":    {conf: wizardWrites(strings.Repeat("ä", 17), "12345678"), says: "lacks a valid name and key"},
		"key too short":    {conf: wizardWrites("Anna", "1234567"), says: "lacks a valid name and key"},
		"key too long":     {conf: wizardWrites("Anna", strings.Repeat("x", 64)), says: "lacks a valid name and key"},
		"no proper name":   {conf: wizardWrites("An\tna", "12345678"), says: "lacks a valid name and key"},
		"not hostapd.conf": {conf: "\x00\x00\xff\n", says: "lacks a valid name and key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			const before = "# mine\nCUBEOS_AP_SSID=CubeOS-01ABCD\nCUBEOS_AP_KEY=cubeos-01ABCD\nCUBEOS_WIFI_COUNTRY=DE\n"
			d.write(apEnv, before)
			d.must("cubeos-access-point.sh")
			old := d.read(hostapdConf)
			d.write(hostapdConf, tt.conf)
			d.effects()
			out := d.must("cubeos-access-point.sh")
			if !strings.Contains(out, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, out)
			}
			// It goes on with what it was started with, where that has not changed.
			var restart []string
			if tt.has != nil {
				restart = []string{"hostapd restart"}
			}
			if diff := cmp.Diff(restart, d.effects()); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if tt.ap == "" {
				if diff := cmp.Diff(old, d.read(hostapdConf)); diff != "" {
					t.Errorf("hostapd.conf (-before +now):\n%s", diff)
				}
				tt.ap = before
			}
			if diff := cmp.Diff(tt.ap, d.read(apEnv)); diff != "" {
				t.Errorf("ap.env (-want +got):\n%s", diff)
			}
			d.hasLines(hostapdConf, append(tt.has, "ctrl_interface=/run/hostapd", "wpa_key_mgmt=WPA-PSK")...)
			secret := []string{hostapdConf, wifiWritten}
			if tt.has != nil {
				secret = append(secret, apEnv)
			}
			for _, path := range secret {
				if got := d.mode(path); got != 0o600 {
					t.Errorf("%s has mode %o", path, got)
				}
			}

			// Nothing more to do, whoever asks.
			ap, conf := d.read(apEnv), d.read(hostapdConf)
			out = d.must("cubeos-wifi-settings.sh") + d.must("cubeos-access-point.sh")
			if d.read(apEnv) != ap || d.read(hostapdConf) != conf || d.effects() != nil || strings.Contains(out, "WARNING") {
				t.Errorf("the next runs changed something or complain:\n%s", out)
			}
		})
	}
}

// TestWiFiSettingsOfOneself wants a change of ap.env by hand, and a hostapd.conf of
// before it, to be nobody's request.
func TestWiFiSettingsOfOneself(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.must("cubeos-access-point.sh")
	const own = "CUBEOS_AP_SSID=Mine\nCUBEOS_AP_KEY=my own key\n"
	d.write(apEnv, own)
	d.must("cubeos-wifi-settings.sh")
	d.hasLines(hostapdConf, "ssid=Mine", "wpa_passphrase=my own key", "country_code=NL")
	if got := d.read(apEnv); got != own {
		t.Errorf("ap.env is now\n%s", got)
	}
	// Back to what it was, as the API does when its wizard fails.
	d.write(hostapdConf, wizardWrites("Anna", "12345678"))
	d.must("cubeos-wifi-settings.sh")
	d.write(hostapdConf, strings.NewReplacer("Anna", "Mine", "12345678", "my own key").Replace(d.read(hostapdConf)))
	d.must("cubeos-wifi-settings.sh")
	d.hasLines(hostapdConf, "ssid=Mine", "wpa_passphrase=my own key")
}

// TestWLAN0IsNoClient wants the access point back where HAL has made wlan0 a client.
func TestWLAN0IsNoClient(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.must("cubeos-access-point.sh")
	d.effects()
	d.write("run/wpa_supplicant/wlan0", "")
	d.must("cubeos-access-point.sh")
	if diff := cmp.Diff([]string{"wpa_supplicant wlan0: terminate", "hostapd restart"}, d.effects()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWiFiNoteIsForgotten(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.write("cubeos/config/defaults.env", strings.ReplaceAll(d.read("cubeos/config/defaults.env"), "KEY_MODE=mac", "KEY_MODE=random"))
	for range 2 {
		d.must("cubeos-access-point.sh")
		if !d.exists(wifiNote) {
			t.Fatal("the note of the key that was made here is gone")
		}
	}
	d.write(hostapdConf, wizardWrites("CubeOS", "cubeos1234"))
	d.must("cubeos-access-point.sh")
	if !d.exists(wifiNote) {
		t.Error("the note is gone, though the key is the same")
	}
	d.write(hostapdConf, wizardWrites("Anna", "12345678"))
	d.must("cubeos-access-point.sh")
	if d.exists(wifiNote) {
		t.Errorf("the boot partition keeps %q", d.read(wifiNote))
	}
}

// TestPowerCutWhileWiFiSettingsChange cuts the power before each single call, and
// wants the next boot to end in the new settings, whole, whoever has made them.
func TestPowerCutWhileWiFiSettingsChange(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(d *fake){
		"by the wizard": func(d *fake) { d.write(hostapdConf, wizardWrites("Anna", "12345678")) },
		"by hand":       func(d *fake) { d.write(apEnv, "CUBEOS_AP_SSID=Mine\nCUBEOS_AP_KEY=my own key\n") },
	} {
		prepared := func(t *testing.T) *fake {
			d := newFake(t)
			d.write("cubeos/config/defaults.env", strings.ReplaceAll(d.read("cubeos/config/defaults.env"), "KEY_MODE=mac", "KEY_MODE=random"))
			d.must("cubeos-access-point.sh")
			change(d)
			return d
		}
		whole := prepared(t)
		before := whole.calls()
		whole.must("cubeos-access-point.sh")
		after := whole.calls()
		if after-before < 6 {
			t.Fatalf("it made %d calls only: the stubs are not in its way", after-before)
		}
		for n := before + 1; n <= after; n += everyCut() {
			t.Run(fmt.Sprintf("%s %d", name, n-before), func(t *testing.T) {
				t.Parallel()
				d := prepared(t)
				if out, err := d.script("cubeos-access-point.sh", nil, fmt.Sprintf("STUB_DIE_AT=%d", n)); !powerCut(err) {
					t.Fatalf("the power was not cut: %v\n%s", err, out)
				}
				d.must("cubeos-access-point.sh")
				for _, path := range []string{apEnv, hostapdConf, wifiWritten} {
					if diff := cmp.Diff(whole.read(path), d.read(path)); diff != "" {
						t.Errorf("%s (-without a power cut +with one):\n%s", path, diff)
					}
				}
				if d.exists(wifiNote) {
					t.Error("the boot partition keeps the old key")
				}
			})
		}
	}
}
