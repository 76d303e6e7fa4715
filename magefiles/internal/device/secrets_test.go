package device

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	secretsFile   = "cubeos/config/secrets.env"
	goodSecrets   = "cubeos/config/.secrets.env.good"
	passwordsFile = "boot/firmware/cubeos-passwords.txt"
	halKeys       = "cubeos/coreapps/cubeos-hal/appdata/acl.json"
)

func (d *fake) generateSecrets() (out string) {
	d.t.Helper()
	out, err := d.script("cubeos-generate-secrets.sh", nil)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// randomPasswords makes the device one of an image with device_passwords = "random".
func (d *fake) randomPasswords() {
	for _, file := range []string{"cubeos/config/defaults.env", "usr/local/share/cubeos/defaults.env"} {
		d.write(file, strings.Replace(d.read(file), "PASSWORDS=documented", "PASSWORDS=random", 1))
	}
}

// settings reads the lines KEY=value, of which no two may have the same key.
func (d *fake) settings(file string) map[string]string {
	d.t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(d.read(file)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if _, twice := found[name]; twice || !ok {
			d.t.Errorf("%s: %q is no setting, or a second one", file, line)
		}
		found[name] = value
	}
	return found
}

const randomKeyLooks = `^([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}$`

func TestSecrets(t *testing.T) {
	t.Parallel()
	const hex32, hex64 = `^[0-9a-f]{32}$`, `^[0-9a-f]{64}$`
	want := map[string]string{
		"NPM_INITIAL_PASSWORD": "^changeme$", "CUBEOS_NPM_EMAIL": `^admin@cubeos\.cube$`, "CUBEOS_NPM_PASSWORD": "^changeme$",
		"CUBEOS_PIHOLE_PASSWORD": "^cubeos$", "PIHOLE_PASSWORD": "^cubeos$",
		"NPM_API_PASSWORD": hex32, "JWT_SECRET": hex64, "CUBEOS_ENCRYPTION_KEY": hex64, "HAL_CORE_KEY": hex64,
	}
	d, other := newFake(t), newFake(t)
	d.generateSecrets()
	other.generateSecrets()
	got, theirs := d.settings(secretsFile), other.settings(secretsFile)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("secrets.env (-want +got):\n%s", diff)
	}
	for name, looks := range want {
		if !regexp.MustCompile(looks).MatchString(got[name]) {
			t.Errorf("%s is %q, want %s", name, got[name], looks)
		}
		if strings.HasPrefix(looks, "^[") && got[name] == theirs[name] {
			t.Errorf("two devices have the same %s", name)
		}
	}
	if got, want := d.read(halKeys), `{"keys": {"`+got["HAL_CORE_KEY"]+`": "core"}}`+"\n"; got != want {
		t.Errorf("HAL obeys %s, want %s", got, want)
	}
	for _, file := range []string{secretsFile, goodSecrets, halKeys} {
		if got := d.mode(file); got != 0o600 {
			t.Errorf("%s has mode %o", file, got)
		}
	}
	if d.read(goodSecrets) != d.read(secretsFile) {
		t.Errorf("the copy is\n%s", d.read(goodSecrets))
	}
	if d.exists(passwordsFile) {
		t.Error("documented passwords are on the boot partition")
	}
	before := d.read(secretsFile)
	if out := d.generateSecrets(); out != "" || d.read(secretsFile) != before {
		t.Errorf("running it again:\n%s", out)
	}
}

// TestLostSecrets is about what a power cut leaves while the API writes.
func TestLostSecrets(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		damage func(d *fake)
		says   string
	}{
		"file": {func(d *fake) { d.remove(secretsFile) }, "had lost NPM_INITIAL_PASSWORD CUBEOS_NPM_EMAIL CUBEOS_NPM_PASSWORD "},
		"all":  {func(d *fake) { d.write(secretsFile, "") }, "had lost NPM_INITIAL_PASSWORD CUBEOS_NPM_EMAIL CUBEOS_NPM_PASSWORD "},
		"end": {func(d *fake) {
			whole, _, _ := strings.Cut(d.read(secretsFile), "JWT_SECRET=")
			d.write(secretsFile, whole+"JWT_SECRET=")
		}, "had lost JWT_SECRET CUBEOS_ENCRYPTION_KEY HAL_CORE_KEY PIHOLE_PASSWORD OWN: as they were before"},
		"copy":        {func(d *fake) { d.remove(goodSecrets) }, ""},
		"copy's end":  {func(d *fake) { d.write(goodSecrets, "OWN=1\nJWT_SEC") }, ""},
		"HAL's key":   {func(d *fake) { d.write(halKeys, "") }, ""},
		"permissions": {func(d *fake) { d.chmod(secretsFile, 0o644) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.generateSecrets()
			d.write(secretsFile, d.read(secretsFile)+"OWN=1\n")
			d.generateSecrets()
			secrets, keys := d.settings(secretsFile), d.read(halKeys)
			tt.damage(d)
			if out := d.generateSecrets(); !strings.Contains(out, tt.says) || strings.Contains(out, "made ") || tt.says == "" && out != "" {
				t.Errorf("it says %q, want %q", out, tt.says)
			}
			if diff := cmp.Diff(secrets, d.settings(secretsFile)); diff != "" {
				t.Errorf("secrets.env (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(secrets, d.settings(goodSecrets)); diff != "" {
				t.Errorf("its copy (-before +after):\n%s", diff)
			}
			if d.read(halKeys) != keys || d.mode(secretsFile) != 0o600 {
				t.Errorf("HAL's keys are %s; secrets.env has mode %o", d.read(halKeys), d.mode(secretsFile))
			}
		})
	}
}

// TestOwnersPasswords is about what the API writes when the owner has set others.
func TestOwnersPasswords(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.generateSecrets()
	const own = `pa$$&\1 "word"`
	d.write(secretsFile, strings.NewReplacer("\nCUBEOS_PIHOLE_PASSWORD=cubeos\n", "\nCUBEOS_PIHOLE_PASSWORD="+own+"\n",
		"CUBEOS_NPM_PASSWORD=changeme", "CUBEOS_NPM_PASSWORD="+own).Replace(d.read(secretsFile)))
	d.generateSecrets()
	for _, file := range []string{secretsFile, goodSecrets} {
		got := d.settings(file)
		if got["PIHOLE_PASSWORD"] != own || got["CUBEOS_PIHOLE_PASSWORD"] != own || got["CUBEOS_NPM_PASSWORD"] != own || got["NPM_INITIAL_PASSWORD"] != "changeme" {
			t.Errorf("%s:\n%s", file, d.read(file))
		}
	}
}

func TestRandomPasswords(t *testing.T) {
	t.Parallel()
	d, other := newFake(t), newFake(t)
	for _, x := range []*fake{d, other} {
		x.randomPasswords()
		x.generateSecrets()
	}
	got := d.settings(secretsFile)
	password := got["NPM_INITIAL_PASSWORD"]
	if !regexp.MustCompile(randomKeyLooks).MatchString(password) || password == other.settings(secretsFile)["NPM_INITIAL_PASSWORD"] {
		t.Errorf("the password is %q, another device's %q", password, other.settings(secretsFile)["NPM_INITIAL_PASSWORD"])
	}
	for _, name := range []string{"CUBEOS_NPM_PASSWORD", "CUBEOS_PIHOLE_PASSWORD", "PIHOLE_PASSWORD"} {
		if got[name] != password {
			t.Errorf("%s is %q, want %q", name, got[name], password)
		}
	}
	if want := "Password of Pi-hole, of admin@cubeos.cube in Nginx Proxy Manager and, once set-up is complete, of admin in the Dashboard:\r\n" + password + "\r\n"; d.read(passwordsFile) != want {
		t.Errorf("the boot partition has %q, want %q", d.read(passwordsFile), want)
	}
	shown := func() bool {
		out, err := d.script("cubeos-banner.sh", nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.Contains(out, "\nPassword  "+password+"\n          of Pi-hole, of admin@cubeos.cube in Nginx Proxy Manager\n          and, once set-up is complete, of admin in the Dashboard\n")
	}
	d.write("cubeos/config/ap.env", "CUBEOS_AP_SSID=x\nCUBEOS_AP_KEY=12345678\n")
	if !shown() {
		t.Error("the console does not show the password")
	}

	d.generateSecrets()
	if !d.exists(passwordsFile) {
		t.Error("the second run took the password off the boot partition")
	}
	d.write(secretsFile, strings.Replace(d.read(secretsFile), "CUBEOS_PIHOLE_PASSWORD="+password, "CUBEOS_PIHOLE_PASSWORD=the owner's", 1))
	d.generateSecrets()
	if d.exists(passwordsFile) || shown() {
		t.Error("a password that is no longer in force is still shown")
	}
}

func TestRandomPasswordWithoutBootPartition(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.randomPasswords()
	d.remove("boot/firmware")
	if out := d.generateSecrets(); !strings.Contains(out, "WARNING: the password could not be written to the boot partition; the console shows it") {
		t.Errorf("it says\n%s", out)
	}
	if !regexp.MustCompile(randomKeyLooks).MatchString(d.settings(secretsFile)["PIHOLE_PASSWORD"]) {
		t.Errorf("secrets.env:\n%s", d.read(secretsFile))
	}
}

func TestPasswordsOfNoKind(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.write("cubeos/config/defaults.env", "CUBEOS_DEVICE_PASSWORDS=secret\n")
	if out, err := d.script("cubeos-generate-secrets.sh", nil); err == nil || !strings.Contains(out, "must be documented or random") {
		t.Errorf("%v\n%s", err, out)
	}
}

func (d *fake) chmod(path string, mode os.FileMode) {
	d.t.Helper()
	if err := os.Chmod(d.root+"/"+path, mode); err != nil {
		d.t.Fatal(err)
	}
}

const ownersPassword = "correct horse"

// wizard does to the secrets what the API's wizard does.
func (d *fake) wizard() {
	d.t.Helper()
	text := regexp.MustCompile(`(?m)^(CUBEOS_PIHOLE_PASSWORD|CUBEOS_NPM_PASSWORD)=.*$`).ReplaceAllString(d.read(secretsFile), "${1}="+ownersPassword)
	d.write(secretsFile, text)
}

const setupComplete = "cubeos/data/.setup_complete"

func TestNewPasswordsAreTaken(t *testing.T) {
	t.Parallel()
	taken := []string{"compose up pihole", "stack deploy cubeos-api", "dashboard password", "start cubeos-banner.service"}
	booted := newFake(t)
	booted.mustBoot()
	booted.effects()
	for name, tt := range map[string]struct {
		before func(d *fake)
		want   []string
		says   string
	}{
		"nothing new":   {func(*fake) {}, nil, ""},
		"wizard":        {func(d *fake) { d.wizard(); d.write(setupComplete, "") }, taken, "secrets.env has changed\n"},
		"half a wizard": {func(d *fake) { d.wizard() }, slices.DeleteFunc(slices.Clone(taken), ofDashboard), "set-up is not complete"},
		"first random":  {func(d *fake) { d.randomPasswords(); d.write(setupComplete, "") }, nil, ""},
		"lost":          {func(d *fake) { d.write(secretsFile, ""); d.write(setupComplete, "") }, []string{"start cubeos-banner.service"}, "secrets.env had lost "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := booted.clone(t)
			tt.before(d)
			out, err := d.script("cubeos-secrets.sh", nil, "CUBEOS_WIZARD_TIMEOUT=0", "CUBEOS_SETTLE=0")
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(tt.want, d.effects()); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if !strings.Contains(out, tt.says) || tt.says == "" && out != "" {
				t.Errorf("it says %q, want %q", out, tt.says)
			}
			if got := d.settings(secretsFile); got["PIHOLE_PASSWORD"] != got["CUBEOS_PIHOLE_PASSWORD"] {
				t.Errorf("the API does not get in at Pi-hole:\n%s", d.read(secretsFile))
			}
			if out, err := d.script("cubeos-secrets.sh", nil); err != nil || out != "" || d.effects() != nil {
				t.Errorf("again: %v\n%s", err, out)
			}
			if d.mustBoot(); len(d.effects()) > 0 {
				t.Error("the next boot made something again")
			}
		})
	}
}

// TestNewPasswordsAreTakenLater is about what keeps them from being taken at once:
// a power cut before any of the calls that take them, or a failure.
func TestNewPasswordsAreTakenLater(t *testing.T) {
	takesLong(t)
	t.Parallel()
	run := func(d *fake, env ...string) (string, error) {
		d.wizard()
		d.write(setupComplete, "")
		return d.script("cubeos-secrets.sh", nil, append([]string{"CUBEOS_SETTLE=0"}, env...)...)
	}
	booted := newFake(t)
	booted.mustBoot()
	booted.effects()
	whole := booted.clone(t)
	if out, err := run(whole); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	taken := slices.DeleteFunc(whole.effects(), shown)
	first, last := booted.calls()+1, whole.calls()
	for n := first; n <= last; n++ {
		t.Run(strconv.Itoa(n-first), func(t *testing.T) {
			t.Parallel()
			d := booted.clone(t)
			if _, err := run(d, "STUB_DIE_AT="+strconv.Itoa(n)); !powerCut(err) {
				t.Fatalf("the power was not cut: %v", err)
			}
			before := d.effects()
			d.mustBoot()
			if out, err := d.script("cubeos-secrets.sh", nil); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got := slices.DeleteFunc(append(before, d.effects()...), shown)
			if diff := cmp.Diff(taken, got); diff != "" {
				t.Errorf("the cut run and the next boot (-want +got):\n%s", diff)
			}
		})
	}

	d := booted.clone(t)
	image := "images/" + strings.ReplaceAll(reference("pihole"), "/", "_")
	d.unstub(image)
	if out, err := run(d); err == nil || !strings.Contains(out, "pihole: its image ") {
		t.Errorf("without an image: %v\n%s", err, out)
	}
	d.effects()
	d.stubFile(image, "")
	if out, err := d.script("cubeos-secrets.sh", nil, "CUBEOS_SETTLE=0"); err != nil || !slices.Contains(d.effects(), "compose up pihole") {
		t.Errorf("with it again: %v\n%s", err, out)
	}
}

// shown is what an effect is that people see and nothing depends on.
func shown(effect string) bool { return effect == "start cubeos-banner.service" }

func ofDashboard(effect string) bool { return effect == "dashboard password" }

func TestDashboardPassword(t *testing.T) {
	t.Parallel()
	documented, random := newFake(t), newFake(t)
	random.randomPasswords()
	for _, d := range []*fake{documented, random} {
		d.mustBoot()
		d.effects()
	}
	for name, tt := range map[string]struct {
		device  *fake
		change  func(d *fake)
		want    []string
		problem string
	}{
		"before set-up":               {random, func(d *fake) { d.remove(setupComplete) }, nil, ""},
		"skipped, documented":         {documented, func(*fake) {}, nil, ""},
		"skipped, random":             {random, func(*fake) {}, []string{"dashboard password"}, ""},
		"wizard":                      {documented, func(d *fake) { d.wizard(); d.stubFile("dashboard", ownersPassword) }, nil, ""},
		"wizard with another account": {documented, func(d *fake) { d.wizard() }, []string{"dashboard password"}, ""},
		"owner's own":                 {random, func(d *fake) { d.stubFile("dashboard", "other") }, nil, ""},
		"no API":                      {random, func(d *fake) { d.stubFile("sick/cubeos-api", "") }, nil, "ERROR: the API does not answer: the Dashboard may still be opened"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := tt.device.clone(t)
			d.write(setupComplete, "")
			tt.change(d)
			out, err := d.script("cubeos-dashboard-password.sh", nil)
			if (err != nil) != (tt.problem != "") || !strings.Contains(out, tt.problem) {
				t.Errorf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(tt.want, d.effects()); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if record := d.settings(secretsFile)["CUBEOS_PIHOLE_PASSWORD"]; tt.want != nil && d.stubbed("dashboard") != record {
				t.Errorf("the password is %q, on record is %q", d.stubbed("dashboard"), record)
			}
			if out, err := d.script("cubeos-dashboard-password.sh", nil); tt.problem == "" && err != nil || d.effects() != nil {
				t.Errorf("again: %v\n%s", err, out)
			}
		})
	}
}
