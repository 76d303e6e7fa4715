package device

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	diagnosis    = "boot/firmware/cubeos-diagnosis.txt"
	diagnosisEnd = "\n==== end of the diagnosis\n"
)

// withSecrets is a device that has been set up, with a secret of its own in every
// place where one can be; they are returned by that place.
func withSecrets(t *testing.T) (*fake, map[string]string) {
	t.Helper()
	d := newFake(t)
	d.mustBoot()
	secrets := map[string]string{
		"Pi-hole's password":       `Marker "1" & <co>`,
		"lost password":            "Marker-2",
		"password of an API":       "Marker-3",
		"access point's key":       "Marker-4 key",
		"hostapd's key":            "Marker-5",
		"hostapd's copy":           "Marker-6",
		"joined WiFi":              "Marker 7 nest",
		"joined WiFi in hex":       "Marker-8",
		"key of it":                "Marker-9\\",
		"identity":                 "Marker-10@school.example",
		"user's hash":              "$y$j9T$Marker11$1",
		"user's password":          "Marker-12, 13",
		"chpasswd":                 "Marker-14",
		"inline":                   "Marker-15",
		"WiFi of Imager":           "Marker 16",
		"key of Imager's WiFi":     "Marker-17",
		"WiFi of the Dashboard":    "Marker 18",
		"key of that":              "Marker-19",
		"Pi-hole's hash":           "$BALLOON-SHA256$v=1$s=1024,t=32$Marker20==$m=",
		"HAL's key":                "Marker-21-0123456789",
		"token of a name's owner":  "Marker-22",
		"password of an app":       "Marker-23",
		"as cloud-init has it":     "Marker-24",
		"NetworkManager's key":     "Marker-25",
		"short, as a whole word":   "M26",
		"first password, as shown": "mark-er27-mark-er28",
	}
	d.write("cubeos/config/secrets.env", d.read("cubeos/config/secrets.env")+
		fmt.Sprintf("CUBEOS_PIHOLE_PASSWORD=%s\nPIHOLE_PASSWORD=%s\nSOMETHING_NEW=%s\nSHORT=%s\n",
			secrets["Pi-hole's password"], secrets["Pi-hole's password"], secrets["password of an API"], secrets["short, as a whole word"]))
	d.write("cubeos/config/.secrets.env.good", "NPM_API_PASSWORD="+secrets["lost password"]+"\n")
	d.write("cubeos/config/ap.env", "CUBEOS_AP_SSID=Nest\nCUBEOS_AP_KEY="+secrets["access point's key"]+"\n")
	d.write("etc/hostapd/hostapd.conf", "ssid=Nest\nwpa_passphrase="+secrets["hostapd's key"]+"\n")
	d.write("var/lib/cubeos/hostapd.conf.written", "ssid=Nest\nwpa_passphrase="+secrets["hostapd's copy"]+"\n")
	d.write("etc/wpa_supplicant/wpa_supplicant-wlan1.conf", fmt.Sprintf("network={\n\tssid=%q\n\tpsk=\"%s\"\n\tidentity=%q\n}\nnetwork={\n\tssid=%x\n\tkey_mgmt=NONE\n}\n",
		secrets["joined WiFi"], secrets["key of it"], secrets["identity"], secrets["joined WiFi in hex"]))
	d.write("boot/firmware/user-data", strings.ReplaceAll(fmt.Sprintf(`#cloud-config
users:
- name: anna
  lock_passwd: false
  passwd: %s # from Imager
- { name: ben, plain_text_passwd: "%s", groups: users }
- { name: eve, hashed_passwd: %s, groups: users }
chpasswd:
  list: |
    anna:%s
`, secrets["user's hash"], secrets["user's password"], secrets["inline"], secrets["chpasswd"]), "\n", "\r\n"))
	wifi := "  wlan0:\n    access-points:\n      %q:\n        password: %q\n"
	d.write("boot/firmware/network-config", fmt.Sprintf(wifi, secrets["WiFi of Imager"], secrets["key of Imager's WiFi"]))
	d.write("etc/netplan/01-cubeos.yaml", fmt.Sprintf(wifi, secrets["WiFi of the Dashboard"], secrets["key of that"]))
	d.write("cubeos/coreapps/pihole/appdata/etc-pihole/pihole.toml", "[webserver.api]\n  pwhash = \""+secrets["Pi-hole's hash"]+"\" ### CHANGED\n")
	d.write("cubeos/coreapps/cubeos-hal/appdata/acl.json", `{"keys": {"`+secrets["HAL's key"]+`": "core"}}`)
	d.write("cubeos/coreapps/npm/appdata/letsencrypt/credentials/credentials-1", "dns_example_api_token = "+secrets["token of a name's owner"]+"\n")
	d.write("cubeos/apps/photos/appconfig/.env", "DB_PASSWORD='"+secrets["password of an app"]+"'\n")
	d.write("run/cloud-init/combined-cloud-config.json", `{"users": [{"name": "zoe", "passwd": "`+secrets["as cloud-init has it"]+`", "x": 1}]}`)
	d.write("etc/NetworkManager/system-connections/home.nmconnection", "[wifi-security]\npsk="+secrets["NetworkManager's key"]+"\n")
	d.write("boot/firmware/cubeos-passwords.txt", "Password of Pi-hole:\r\n"+secrets["first password, as shown"]+"\r\n")
	return d, secrets
}

// spellings of a secret in a log.
func spellings(secret string) []string {
	spelt, _ := json.Marshal(secret) // as Go's programs log it
	plain := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(secret)
	return []string{secret, string(spelt[1 : len(spelt)-1]), plain, strings.ReplaceAll(url.QueryEscape(secret), "+", "%20")}
}

func TestNoSecretIsInTheDiagnosis(t *testing.T) {
	t.Parallel()
	d, secrets := withSecrets(t)
	var log strings.Builder
	for _, secret := range secrets {
		for _, spelt := range spellings(secret) {
			fmt.Fprintf(&log, "said (%s), and %s again\n", spelt, spelt)
		}
	}
	for line := range strings.Lines(d.read("cubeos/config/secrets.env")) {
		if _, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && len(value) > 20 {
			secrets[line] = value
			fmt.Fprintln(&log, "made", value)
		}
	}
	// What no file has.
	token := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhZG1pbiJ9.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	unknown := map[string]string{
		"JWT":         token,
		"hash":        "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"join token":  "SWMTKN-1-49nj1cmql0jkz5s954yi3oex3nedyz0fb0xx14ie39trti4wxv-8vxv8rssmk743ojnwacrr2e7c",
		"request":     "dashboards-own",
		"query":       "of-a-query",
		"address":     "in-an-address",
		"basic":       "YWRtaW46aGVuLWhvdXNl",
		"private key": "MIIEpAIBAAKCAQEA",
		"WiFi key":    "wxyz-2345-6789-abcd",
	}
	fmt.Fprintf(&log, `token %s
hash %s
docker swarm join --token %s
{"admin_password":"%s","x":1}
GET /api?access_token=%s&x=1
https://anna:%s@example.org/
Authorization: Basic %s
-----BEGIN RSA PRIVATE KEY-----
%s
-----END RSA PRIVATE KEY-----
WiFi key  %s
`, unknown["JWT"], unknown["hash"], unknown["join token"], unknown["request"], unknown["query"], unknown["address"], unknown["basic"], unknown["private key"], unknown["WiFi key"])
	maps.Copy(secrets, unknown)
	log.WriteString("CUBEOS: stage swarm: done in 3 s\nM26x and cubeos-init stay\n")
	d.stubFile("journal", log.String())
	d.stubFile("ps", "cubeos-npm\n")
	d.stubFile("logs-cubeos-npm", log.String()+"proxied\n")
	d.stubFile("failed", log.String())

	out, err := d.script("cubeos-diagnosis.sh", nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := d.read(diagnosis)
	for place, secret := range secrets {
		for _, spelt := range append(spellings(secret), hex.EncodeToString([]byte(secret))) {
			if place != "short, as a whole word" && strings.Contains(got, spelt) {
				t.Errorf("%s: %q is in the diagnosis", place, spelt)
			}
		}
	}
	for line := range strings.Lines(got) {
		if strings.Contains(line, "Marker") || strings.Contains(line, "(M26)") {
			t.Errorf("the diagnosis has %q", line)
		}
	}
	for _, want := range []string{"CUBEOS: stage swarm: done in 3 s", "M26x and cubeos-init stay", "proxied", "==== docker logs", "Service   pihole answers", "CUBEOS_VERSION=1.2.3", "said (***), and *** again", diagnosisEnd} {
		if !strings.Contains(got, want) {
			t.Errorf("the diagnosis lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
	if left, _ := filepath.Glob(filepath.Join(d.root, "run/cubeos/diagnosis.*/*")); left != nil {
		t.Errorf("secrets are left in %q", left)
	}
}

func TestDiagnosisOfADeviceThatWasNeverBooted(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	if out, err := d.script("cubeos-diagnosis.sh", nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := d.read(diagnosis); !strings.HasSuffix(got, diagnosisEnd) {
		t.Errorf("it is not complete:\n%s", got)
	}
}

// TestDiagnosisOfADeviceThatHangs has programs that neither answer nor end when they
// are asked to.
func TestDiagnosisOfADeviceThatHangs(t *testing.T) {
	t.Parallel()
	d, secrets := withSecrets(t)
	for _, name := range []string{"docker", "ip", "systemctl", "journalctl", "iptables-save", "iw", "df"} {
		path := filepath.Join(d.bin, name)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		// It is stopped in the middle of a secret.
		script := fmt.Sprintf("#!/bin/bash\ntrap '' TERM\necho whole line of %s\nprintf %%s '%.7s'\nwhile :; do sleep 1; done\n", name, secrets["HAL's key"])
		if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out, err := d.script("cubeos-diagnosis.sh", nil, "CUBEOS_DIAGNOSIS_TIMEOUT=0.2")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := d.read(diagnosis)
	for _, want := range []string{"whole line of ip\n[no answer within 0.2 s]", "whole line of df\n[no answer", "whole line of docker\n[no", diagnosisEnd} {
		if !strings.Contains(got, want) {
			t.Errorf("the diagnosis lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "Marker-") {
		t.Errorf("the beginning of a secret is in the diagnosis:\n%s", got)
	}
}

func TestDiagnosisIsBounded(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.mustBoot()
	flood := "first line\n" + strings.Repeat(strings.Repeat("x", 199)+"\n", 60_000) + "last line\n"
	d.stubFile("journal", flood)
	var names strings.Builder
	for i := range 40 {
		fmt.Fprintf(&names, "app-%d\n", i)
		d.stubFile(fmt.Sprintf("logs-app-%d", i), flood[:400_000])
	}
	d.stubFile("ps", names.String())
	if out, err := d.script("cubeos-diagnosis.sh", nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := d.read(diagnosis)
	if len(got) > 2<<20 || len(got) < 1<<20 {
		t.Errorf("it has %d bytes, want at most 2 MiB, and no less than there is room for", len(got))
	}
	for _, want := range []string{"bytes are left out here …]\n", "==== docker logs --timestamps --tail 300 app-0\n", diagnosisEnd} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q", want)
		}
	}
}

// TestDiagnosisIsCompleteOrNotThere cuts the power before each call that is made.
func TestDiagnosisIsCompleteOrNotThere(t *testing.T) {
	t.Parallel()
	whole := newFake(t)
	whole.mustBoot()
	before := whole.calls()
	start := whole.clone(t)
	if out, err := whole.script("cubeos-diagnosis.sh", nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	there := 0
	for n := before + 1; n <= whole.calls(); n += 1 + 4*(everyCut()-1) {
		d := start.clone(t)
		if _, err := d.script("cubeos-diagnosis.sh", nil, fmt.Sprintf("STUB_DIE_AT=%d", n)); !powerCut(err) {
			continue // the call was one that timeout(1) made
		}
		if d.exists(diagnosis) {
			there++
			if got := d.read(diagnosis); !strings.HasSuffix(got, diagnosisEnd) {
				t.Errorf("cut at call %d it is\n%s", n, got)
			}
		}
	}
	t.Logf("%d cuts came when it was there", there)
}

func TestDiagnosisWithoutABootPartition(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.remove("boot/firmware")
	out, err := d.script("cubeos-diagnosis.sh", nil)
	if err == nil || !strings.Contains(out, "the boot partition is not mounted on /boot/firmware") {
		t.Errorf("got %v and %s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(d.root, "run/cubeos/diagnosis.*")); slices.ContainsFunc(left, func(p string) bool { return !strings.HasSuffix(p, ".lock") }) {
		t.Errorf("it left %q", left)
	}
}
