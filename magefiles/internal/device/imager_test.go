package device

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// withImager is a device whose cloud-init has been through what Imager wrote.
func withImager(t *testing.T, cmdline, settings string) *fake {
	t.Helper()
	d := newFake(t)
	d.write("proc/cmdline", "console=tty1 root=PARTUUID=01020304-02 "+cmdline+"\n")
	d.write("boot/firmware/user-data", "#cloud-config\n")
	d.write("home/anna/.ssh/authorized_keys", "ssh-ed25519 AAAA\n")
	d.write("etc/modprobe.d/cubeos-wifi-country.conf", "options cfg80211 ieee80211_regdom=NL\n")
	d.stubFile("shadow", "cubeos:*:::::::\nlocked:!*:::::::\nchosen:$y$own:::::::\nanna:!:::::::\nben:$y$own:::::::\n")
	d.stubFile("groups", "cubeos: cubeos sudo docker\nanna: anna sudo\nben: ben sudo\nlocked: locked\n")
	if settings != "" {
		d.write("run/cloud-init/combined-cloud-config.json", settings)
	}
	return d
}

func (d *fake) imagerSettings() string {
	d.t.Helper()
	out, err := d.script("cubeos-imager-settings.sh", nil)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func TestWiFiCountryFromImager(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ cmdline, country, says string }{
		"given":      {cmdline: "cfg80211.ieee80211_regdom=DE ds=nocloud;i=1", country: "DE", says: "WiFi country: DE"},
		"none":       {cmdline: "quiet", country: "NL"},
		"no country": {cmdline: "cfg80211.ieee80211_regdom=00", country: "NL", says: "'00' on the kernel's command line is no country's code"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := withImager(t, tt.cmdline, "")
			if out := d.imagerSettings(); !strings.Contains(out, tt.says) || tt.says == "" && out != "" {
				t.Errorf("it says %q, want %q", out, tt.says)
			}
			if got, want := d.read("etc/modprobe.d/cubeos-wifi-country.conf"), "options cfg80211 ieee80211_regdom="+tt.country+"\n"; got != want {
				t.Errorf("the module's options are %q, want %q", got, want)
			}
			if out, err := d.script("cubeos-access-point.sh", nil); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if conf := d.read("etc/hostapd/hostapd.conf"); !strings.Contains(conf, "\ncountry_code="+tt.country+"\n") {
				t.Errorf("the access point is not in %s:\n%s", tt.country, conf)
			}
		})
	}
}

func TestImagerSettingsAreWrittenOnce(t *testing.T) {
	t.Parallel()
	d := withImager(t, "cfg80211.ieee80211_regdom=DE", "")
	d.imagerSettings()
	path := filepath.Join(d.root, "etc/modprobe.d/cubeos-wifi-country.conf")
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	d.imagerSettings()
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the second boot wrote the module's options again (%v)", err)
	}
}

func TestPasswordFromImager(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings string
		want     []string
	}{
		"of the built-in user": {`{"user": {"name": "cubeos", "lock_passwd": false, "passwd": "$y$given"}}`, []string{"usermod --password $y$given cubeos"}},
		"locked by cloud-init": {`{"user": {"name": "locked", "lock_passwd": false, "passwd": "$5$given"}}`, []string{"usermod --password $5$given locked"}},
		"in a list":            {`{"users": ["default", {"name": "cubeos", "lock_passwd": false, "passwd": "$y$given"}]}`, []string{"usermod --password $y$given cubeos"}},
		"changed since":        {`{"user": {"name": "chosen", "lock_passwd": false, "passwd": "$y$given"}}`, nil},
		"key only":             {`{"user": {"name": "cubeos", "lock_passwd": true}}`, nil},
		"not hashed":           {`{"user": {"name": "cubeos", "lock_passwd": false, "passwd": "secret"}}`, nil},
		"of nobody":            {`{"user": {"name": "nobody-here", "lock_passwd": false, "passwd": "$y$given"}}`, nil},
		"nothing":              {`{}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := withImager(t, "", tt.settings)
			out := d.imagerSettings()
			if strings.Contains(out, "given\"") || strings.Contains(out, "$y$") {
				t.Errorf("it shows the hash: %s", out)
			}
			if diff := cmp.Diff(tt.want, d.effects()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAdministratorsFromImager wants a user with a key only to get at everything,
// and nobody to get at more than Imager has asked for.
func TestAdministratorsFromImager(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		settings, sudoers string
		want              []string
	}{
		"key only, from Imager 2.0.11 on": {
			`{"users": [{"name": "anna", "groups": "users,adm,sudo", "lock_passwd": true, "sudo": null}]}`,
			"anna ALL=(ALL:ALL) NOPASSWD: ALL", []string{"usermod --append --groups cubeos,sudo,docker anna"},
		},
		"in place of the built-in user": {
			`{"user": {"name": "anna", "lock_passwd": true}}`,
			"anna ALL=(ALL:ALL) NOPASSWD: ALL", []string{"usermod --append --groups cubeos,sudo,docker anna"},
		},
		"with a password":   {`{"users": [{"name": "ben"}]}`, "", []string{"usermod --append --groups cubeos,sudo,docker ben"}},
		"no administrator":  {`{"users": [{"name": "locked"}]}`, "", nil},
		"the built-in user": {`{"user": {"name": "cubeos"}, "users": ["default"]}`, "", nil},
		"of nobody":         {`{"users": [{"name": "nobody-here"}]}`, "", nil},
		"nobody":            {`{}`, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := withImager(t, "", tt.settings)
			d.imagerSettings()
			if diff := cmp.Diff(tt.want, d.effects()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			const file = "etc/sudoers.d/011_cubeos-imager"
			if got := d.exists(file) && strings.TrimSpace(d.read(file)) == tt.sudoers; got != (tt.sudoers != "") {
				t.Errorf("rules are there: %v", d.exists(file))
			}
			d.remove(file)
			d.write("var/lib/cubeos/first-boot-complete", "")
			if d.imagerSettings(); d.exists(file) || d.effects() != nil {
				t.Error("what its owner has taken away comes back at the next boot")
			}
		})
	}
}

func TestWhatImagerAskedForInVain(t *testing.T) {
	t.Parallel()
	complaint := `{"v1": {"datasource": null, "init-local": {"errors": [], "recoverable_errors": {"WARNING": ["Failed at merging"]}}}}`
	for name, tt := range map[string]struct {
		change func(*fake)
		want   string
	}{
		"all is well":     {func(*fake) {}, ""},
		"a WiFi network":  {func(d *fake) { d.write("boot/firmware/network-config", "wifis:\n  access-points:\n") }, "wlan0 is the access point"},
		"only an example": {func(d *fake) { d.write("boot/firmware/network-config", "#      access-points:\n") }, ""},
		"SSH by password": {func(d *fake) { d.write("run/cloud-init/combined-cloud-config.json", `{"ssh_pwauth": true}`) }, "only keys"},
		"no user-data":    {func(d *fake) { d.remove("boot/firmware/user-data") }, "no user-data"},
		"no key":          {func(d *fake) { d.remove("home") }, "nobody can log in by SSH"},
		"an empty key":    {func(d *fake) { d.write("home/anna/.ssh/authorized_keys", "") }, "nobody can log in by SSH"},
		"broken": {func(d *fake) {
			d.write("run/cloud-init/status.json", complaint)
			d.stubFile("python3", "line 3, column 1\n")
		}, "can not be read, nothing of it is used: line 3, column 1"},
		"another complaint": {func(d *fake) { d.write("run/cloud-init/status.json", complaint) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := withImager(t, "", `{"ssh_pwauth": false}`)
			tt.change(d)
			out := d.imagerSettings()
			if !strings.Contains(out, tt.want) || tt.want == "" && out != "" {
				t.Errorf("it says %q, want %q", out, tt.want)
			}
			d.write("var/lib/cubeos/first-boot-complete", "")
			if out := d.imagerSettings(); out != "" {
				t.Errorf("it says so again at every boot: %q", out)
			}
		})
	}
}

func TestLocaleGen(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.write("etc/locale.gen", "en_US.UTF-8 UTF-8\n")
	d.write("usr/sbin/locale-gen", "#!/bin/sh\necho \"generates $*\"\n")
	if err := os.Chmod(d.root+"/usr/sbin/locale-gen", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"de_DE.UTF-8"}, {"de_DE.UTF-8"}, {"en_US.UTF-8"}, {"nonsense"}, nil} {
		out, err := d.script("../configs/rootfs/usr/local/sbin/locale-gen", args)
		if err != nil || out != "generates --keep-existing\n" {
			t.Errorf("%v: %v, %q", args, err, out)
		}
	}
	if diff := cmp.Diff("en_US.UTF-8 UTF-8\nde_DE.UTF-8 UTF-8\n", d.read("etc/locale.gen")); diff != "" {
		t.Errorf("locale.gen (-want +got):\n%s", diff)
	}
}

// TestCloudInitBeginsAnew wants what cloud-init has noted to count only once all of
// it is on the card.
func TestCloudInitBeginsAnew(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	run := func(verb, says string) {
		t.Helper()
		out, err := d.script("cubeos-cloud-init.sh", []string{verb})
		if err != nil || !strings.Contains(out, says) || says == "" && out != "" {
			t.Fatalf("%s: %v\n%s", verb, err, out)
		}
	}
	run("forget", "") // there is nothing at the first boot
	for _, path := range []string{"instance/sem/config_users_groups", "instances/1/obj.pkl", "data/set-hostname", "sem/bootper.mine", "seed/nocloud/user-data"} {
		d.write("var/lib/cloud/"+path, "")
	}
	run("forget", "cloud-init was cut off: it begins again")
	for path, want := range map[string]bool{"instance": false, "instances": false, "data": false, "sem/bootper.mine": true, "seed/nocloud/user-data": true} {
		if got := d.exists("var/lib/cloud/" + path); got != want {
			t.Errorf("%s is there: %v, want %v", path, got, want)
		}
	}
	run("forget", "") // nothing was noted
	d.write("var/lib/cloud/instance/sem/config_power_state_change", "")
	run("pause", "")
	run("forget", "cloud-init goes on where the device was restarted")
	if !d.exists("var/lib/cloud/instance/sem/config_power_state_change") {
		t.Error("cloud-init restarts the device again at every boot")
	}
	run("forget", "cloud-init was cut off: it begins again") // by a power cut after that
	run("keep", "")
	run("pause", "")
	if d.exists("var/lib/cubeos/cloud-init-paused") {
		t.Error("a later shutdown leaves a mark that nobody removes")
	}
	if !d.exists("var/lib/cubeos/cloud-init-complete") {
		t.Error("nothing says that cloud-init's notes count")
	}
}
