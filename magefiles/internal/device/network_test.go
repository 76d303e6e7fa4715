package device

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAccessPointCredentials(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mac, want, problem string
	}{
		{mac: "dc:a6:32:01:ab:cd", want: "CUBEOS_AP_SSID=CubeOS-01ABCD\nCUBEOS_AP_KEY=cubeos-01ABCD\n"},
		{mac: "02:00:00:00:00:00", want: "CUBEOS_AP_SSID=CubeOS-000000\nCUBEOS_AP_KEY=cubeos-000000\n"},
		{mac: "DC:A6:32:FF:0E:9F", want: "CUBEOS_AP_SSID=CubeOS-FF0E9F\nCUBEOS_AP_KEY=cubeos-FF0E9F\n"},
		{mac: "", problem: "no usable MAC address: ''"},
		{mac: "dc:a6:32:01:ab", problem: "no usable MAC address"},
		{mac: "dc:a6:32:01:ab:cd:ef", problem: "no usable MAC address"},
	} {
		t.Run(tt.mac, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.write("sys/class/net/wlan0/address", tt.mac+"\n")
			out, err := d.script("cubeos-generate-ap-creds.sh", nil)
			if tt.problem != "" {
				if err == nil || !strings.Contains(out, tt.problem) || d.exists("cubeos/config/ap.env") {
					t.Errorf("got %v and %q, want a refusal that says %q", err, out, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(tt.want, d.read("cubeos/config/ap.env")); diff != "" {
				t.Errorf("ap.env (-want +got):\n%s", diff)
			}
			if got := d.mode("cubeos/config/ap.env"); got != 0o600 {
				t.Errorf("ap.env has mode %o", got)
			}
		})
	}
}

func TestAccessPointKeepsWhatTheOwnerChose(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	// & and \ mean something to sed and to bash's own replacement.
	d.write("cubeos/config/ap.env", "CUBEOS_AP_SSID=Anna & Bob\\1\nCUBEOS_AP_KEY=pa$$ \"word\"\n")
	if out, err := d.script("cubeos-access-point.sh", nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	conf := d.read("etc/hostapd/hostapd.conf")
	for _, want := range []string{"ssid=Anna & Bob\\1\n", "wpa_passphrase=pa$$ \"word\"\n", "country_code=NL\n", "interface=wlan0\n"} {
		if !strings.Contains(conf, want) {
			t.Errorf("hostapd.conf has no %q:\n%s", want, conf)
		}
	}
	if got := d.mode("etc/hostapd/hostapd.conf"); got != 0o600 {
		t.Errorf("hostapd.conf has mode %o", got)
	}
	if strings.Contains(conf, "@") {
		t.Errorf("hostapd.conf still holds a placeholder:\n%s", conf)
	}
}

func TestRandomWiFiKey(t *testing.T) {
	t.Parallel()
	whole := regexp.MustCompile(`^CUBEOS_AP_SSID=CubeOS-01ABCD\nCUBEOS_AP_KEY=(([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4})\n$`)
	keys := map[string]bool{}
	for range 3 {
		d := newFake(t)
		d.write("cubeos/config/defaults.env", strings.ReplaceAll(d.read("cubeos/config/defaults.env"), "KEY_MODE=mac", "KEY_MODE=random"))
		if out, err := d.script("cubeos-generate-ap-creds.sh", nil); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		ap := d.read("cubeos/config/ap.env")
		m := whole.FindStringSubmatch(ap)
		if m == nil {
			t.Fatalf("ap.env is\n%s", ap)
		}
		keys[m[1]] = true
		if got, want := d.read("boot/firmware/cubeos-wifi.txt"), "WiFi name: CubeOS-01ABCD\r\nWiFi key:  "+m[1]+"\r\n"; got != want {
			t.Errorf("the boot partition has %q, want %q", got, want)
		}
		if out, err := d.script("cubeos-generate-ap-creds.sh", nil); err != nil || d.read("cubeos/config/ap.env") != ap {
			t.Errorf("running it again: %v\n%s", err, out)
		}
	}
	if len(keys) != 3 {
		t.Errorf("three devices have the keys %v", keys)
	}
}

func TestRandomWiFiKeyWithoutBootPartition(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.write("cubeos/config/defaults.env", "CUBEOS_WIFI_KEY_MODE=random\n")
	d.remove("boot/firmware")
	out, err := d.script("cubeos-generate-ap-creds.sh", nil)
	if err != nil || !strings.Contains(out, "WARNING: the WiFi key could not be written to the boot partition") {
		t.Errorf("%v\n%s", err, out)
	}
	if !d.exists("cubeos/config/ap.env") {
		t.Error("there is no key")
	}
}

// TestCountryFromImager gives the access point the country its owner chose in
// Raspberry Pi Imager, from where Imager writes it.
func TestCountryFromImager(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ cmdline, network, want string }{
		"none":         {cmdline: "root=/dev/mmcblk0p2 rootwait", want: "NL"},
		"command line": {cmdline: "rootwait cfg80211.ieee80211_regdom=GR", want: "GR"},
		"in between":   {cmdline: "cfg80211.ieee80211_regdom=GR rootwait", want: "GR"},
		"with network": {network: "network:\n  wifis:\n    wlan0:\n      regulatory-domain: \"DE\"\n      optional: true\n", want: "DE"},
		"commented":    {network: "#      regulatory-domain: GB\n", want: "NL"},
		"nonsense":     {cmdline: "cfg80211.ieee80211_regdom=Greece", want: "NL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.write("proc/cmdline", tt.cmdline+"\n")
			d.write("boot/firmware/network-config", tt.network)
			if out, err := d.script("cubeos-access-point.sh", nil); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if conf := d.read("etc/hostapd/hostapd.conf"); !strings.Contains(conf, "country_code="+tt.want+"\n") {
				t.Errorf("hostapd.conf has another country than %s:\n%s", tt.want, conf)
			}
		})
	}
}

// What keeps the access point's clients from anything but what Docker publishes.
const clientsDropped = "-A CUBEOS-FORWARD -i wlan0 -m conntrack ! --ctstate DNAT -j DROP\n"

const clientsTranslated = "-A CUBEOS-POSTROUTING -s 10.42.24.0/24"

const containersTranslated = "-A CUBEOS-POSTROUTING -s 172.16.0.0/12 -o eth+ -j MASQUERADE\n"

func established(uplink string) string {
	return "-A CUBEOS-FORWARD -i " + uplink + " -o wlan0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
}

func TestNetworkModes(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	for _, tt := range []struct {
		arg, mode string
		has, not  []string
	}{
		{"apply", "OFFLINE", []string{containersTranslated, clientsDropped, "-A CUBEOS-FORWARD -i eth+ -o wlan0 -j DROP\n", "-A CUBEOS-INPUT ! -i lo -p udp -m udp --dport 4789 -j DROP\n"}, []string{clientsTranslated, "ACCEPT"}},
		{"ONLINE_ETH", "ONLINE_ETH", []string{clientsTranslated + " -o eth0 -j MASQUERADE\n", containersTranslated, "-i wlan0 -o eth0 -j ACCEPT\n" + established("eth0") + clientsDropped}, []string{"-i wlan0 -o wlan1 -j ACCEPT"}},
		{"apply", "ONLINE_ETH", []string{clientsTranslated}, nil},
		{"ONLINE_WIFI", "ONLINE_WIFI", []string{clientsTranslated + " -o wlan1 -j MASQUERADE\n", "-i wlan0 -o wlan1 -j ACCEPT\n" + established("wlan1") + clientsDropped}, []string{"-o eth0 -j"}},
		{"OFFLINE", "OFFLINE", []string{clientsDropped}, []string{clientsTranslated, "ACCEPT"}},
	} {
		if out, err := d.script("cubeos-network-mode.sh", []string{tt.arg}); err != nil {
			t.Fatalf("%s: %v\n%s", tt.arg, err, out)
		}
		rules := d.stubbed("rules-iptables")
		for _, want := range tt.has {
			if !strings.Contains(rules, want) {
				t.Errorf("%s: no rule %q in\n%s", tt.arg, want, rules)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(rules, not) {
				t.Errorf("%s: a rule with %q in\n%s", tt.arg, not, rules)
			}
		}
		if out, err := d.script("cubeos-network-mode.sh", nil); err != nil || out != tt.mode+"\n" {
			t.Errorf("after %s it shows %q (%v), want %s", tt.arg, out, err, tt.mode)
		}
	}
	if rules6 := d.stubbed("rules-ip6tables"); !strings.Contains(rules6, "-A CUBEOS-FORWARD -i wlan0 -j DROP\n") || strings.Contains(rules6, "ACCEPT") {
		t.Errorf("clients have IPv6:\n%s", rules6)
	}
	// The modes that were set are told to the API, those that were applied are not.
	want := append(slices.Clone(jumps), tellsAPI, tellsAPI, tellsAPI)
	if diff := cmp.Diff(want, d.effects()); diff != "" {
		t.Errorf("jumps into our chains, and what follows (-want +got):\n%s", diff)
	}
	if out, err := d.script("cubeos-network-mode.sh", []string{"ONLINE"}); err == nil || !strings.Contains(out, "usage:") {
		t.Errorf("an unknown mode: %v, %q", err, out)
	}
	d.write("cubeos/config/network.env", "CUBEOS_NETWORK_MODE=rm -rf\n")
	if out, err := d.script("cubeos-network-mode.sh", []string{"apply"}); err != nil || !strings.Contains(out, "taking OFFLINE") {
		t.Errorf("a damaged saved mode: %v, %q", err, out)
	}
}

func TestNetworkModeOff(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	run := func(arg string) {
		t.Helper()
		if out, err := d.script("cubeos-network-mode.sh", []string{arg}); err != nil {
			t.Fatalf("%s: %v\n%s", arg, err, out)
		}
	}
	run("off")
	if got := d.effects(); got != nil {
		t.Errorf("taking back what is not there did %v", got)
	}
	run("ONLINE_ETH")
	d.effects()
	run("off")
	want := []string{
		"no iptables filter CUBEOS-INPUT", "no iptables filter CUBEOS-FORWARD", "no iptables nat CUBEOS-POSTROUTING",
		"no ip6tables filter CUBEOS-INPUT", "no ip6tables filter CUBEOS-FORWARD",
	}
	if diff := cmp.Diff(want, d.effects()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	run("apply")
	if diff := cmp.Diff(jumps, d.effects()); diff != "" {
		t.Errorf("the saved mode after that (-want +got):\n%s", diff)
	}
	if got := d.read("run/cubeos/network-mode"); got != "ONLINE_ETH\n" {
		t.Errorf("the mode is %q: off must not be saved", got)
	}
}

func TestNetworkModeWithoutIPv6(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.remove("proc/sys/net/ipv6")
	for _, arg := range []string{"apply", "off"} {
		if out, err := d.script("cubeos-network-mode.sh", []string{arg}); err != nil {
			t.Fatalf("%s: %v\n%s", arg, err, out)
		}
	}
	for _, effect := range d.effects() {
		if strings.Contains(effect, "ip6tables") {
			t.Errorf("%s on a kernel without IPv6", effect)
		}
	}
}

func TestNetworkModeBlocksWhatIsForTheDeviceAlone(t *testing.T) {
	t.Parallel()
	const list = "usr/local/share/cubeos/services.json"
	d := newFake(t)
	d.write(list, `{"services": [
  {"ports": [{"port": 53, "protocols": ["tcp", "udp"], "reach": "network"}, {"port": 3000, "protocols": ["tcp"], "reach": "blocked"}]},
  {"ports": [{"port": 6005, "protocols": ["tcp"], "reach": "device"}, {"port": 9000, "protocols": ["tcp", "udp"], "reach": "blocked"}]}
]}`)
	if out, err := d.script("cubeos-network-mode.sh", []string{"OFFLINE"}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const want = `:CUBEOS-INPUT - [0:0]
-A CUBEOS-INPUT ! -i lo -p udp -m udp --dport 4789 -j DROP
-A CUBEOS-INPUT ! -i lo -p tcp -m tcp --dport 3000 -j REJECT --reject-with tcp-reset
-A CUBEOS-INPUT ! -i lo -p tcp -m tcp --dport 9000 -j REJECT --reject-with tcp-reset
-A CUBEOS-INPUT ! -i lo -p udp -m udp --dport 9000 -j DROP
:CUBEOS-FORWARD - [0:0]
`
	for _, family := range []string{"iptables", "ip6tables"} {
		if rules := d.stubbed("rules-" + family); !strings.Contains(rules, want) {
			t.Errorf("%s: want\n%s\nin\n%s", family, want, rules)
		}
	}

	d.write(list, "{")
	out, err := d.script("cubeos-network-mode.sh", []string{"ONLINE_ETH"})
	if err != nil || !strings.Contains(out, "WARNING: ") || !strings.Contains(d.stubbed("rules-iptables"), "MASQUERADE") {
		t.Errorf("without a list: %v\n%s", err, out)
	}
}
