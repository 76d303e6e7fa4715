package device

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// console presses keys, and returns what the screen has shown.
func (d *fake) console(keys string) string {
	d.t.Helper()
	out, err := d.scriptAsking("cubeos-console.sh", []string{"tty1"}, keys)
	if err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func TestConsoleShowsStateAndMenu(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.write("run/cubeos/state-tty1", "Service   pihole answers\n")
	out := d.console("")
	for _, want := range []string{"Service   pihole answers\n", "1 restart", "2 write a diagnosis", "3 OFFLINE", "4 factory reset", "5 log in"} {
		if !strings.Contains(out, want) {
			t.Errorf("the screen lacks %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "Boot ") {
		t.Errorf("a boot that is over is on the screen:\n%s", out)
	}
	d.write("run/cubeos/stage", "core-services 700\n")
	d.write("run/cubeos/stalled-boot", "the boot is not complete after 16 min\n")
	out = d.console("")
	for _, want := range []string{"Boot      at stage core-services for 5 min\n", "Problem   the boot is not complete after 16 min\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the screen lacks %q:\n%s", want, out)
		}
	}
}

func TestConsoleKeys(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		keys    string
		effects []string
		shows   string
	}{
		"diagnosis":            {"2 ", nil, "cubeos-diagnosis.txt is on the boot partition"},
		"access point":         {"3 ", []string{"restart cubeos-tell-network-mode.timer", "hostapd stop", "access point again", "start cubeos-banner.service"}, "access point CubeOS-01ABCD: http://cubeos.cube"},
		"another word":         {"4reset\n", nil, "type the word RESET"},
		"no word":              {"4\n", nil, "type the word RESET"},
		"what Delete sends":    {"\x1b[3~", nil, ""},
		"what F1 sends":        {"\x1b[11~", nil, ""},
		"keys without meaning": {"6 x\n\x03", nil, ""},
		"log in":               {"5", []string{"login prompt"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.mustBoot()
			d.effects()
			out := d.console(tt.keys)
			if diff := cmp.Diff(tt.effects, d.effects()); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if !strings.Contains(out, tt.shows) || strings.Contains(out, "NOT work") {
				t.Errorf("the screen lacks %q:\n%s", tt.shows, out)
			}
		})
	}
}

func TestConsoleRestartsServices(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]bool{"services": false, "Docker": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.mustBoot()
			d.effects()
			want := []string{"stop cubeos-init"}
			if broken {
				d.stubFile("docker-broken", "")
				want = append(want, "systemctl restart docker")
			}
			if out := d.console("1 "); !strings.Contains(out, "Done.") {
				t.Errorf("the screen shows\n%s", out)
			}
			for _, s := range list().Of(services.Compose) {
				want = append(want, "compose restart "+s.Name)
			}
			for _, s := range list().Of(services.Stack) {
				want = append(want, "service update "+s.SwarmService())
			}
			want = append(want, "start cubeos-init.service")
			got := d.effects()
			if !slices.IsSorted([]int{slices.Index(got, want[0]), slices.Index(got, "systemctl restart docker"), len(got) - 1}) && broken {
				t.Errorf("not in this order: %q", got)
			}
			if got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
				t.Errorf("it begins with %q and ends with %q", got[0], got[len(got)-1])
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("effects, sorted (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConsoleAsksForAFactoryReset has a factory reset that refuses.
func TestConsoleAsksForAFactoryReset(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	lib := filepath.Join(t.TempDir(), "lib")
	if err := os.CopyFS(lib, os.DirFS(filepath.Join(repo, "firstboot"))); err != nil {
		t.Fatal(err)
	}
	reset := "#!/bin/bash\necho \"factory reset: $*\" >>\"$STUB_STATE/effects\"\necho 'no room for it' >&2\nexit 1\n"
	if err := os.WriteFile(filepath.Join(lib, "cubeos-factory-reset.sh"), []byte(reset), 0o755); err != nil {
		t.Fatal(err)
	}
	from, err := filepath.Abs(filepath.Join(repo, "firstboot"))
	if err != nil {
		t.Fatal(err)
	}
	console, err := filepath.Rel(from, filepath.Join(lib, "cubeos-console.sh"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.scriptAsking(console, []string{"tty1"}, "4RESET\n ")
	if err != nil || !strings.Contains(out, "no room for it") || !strings.Contains(out, "did NOT work (exit status 1)") {
		t.Errorf("got %v and the screen\n%s", err, out)
	}
	if diff := cmp.Diff([]string{"factory reset: request"}, d.effects()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestOfflineWithoutRadio(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.mustBoot()
	d.remove("sys/class/net/wlan0")
	if out := d.console("3 "); !strings.Contains(out, "ERROR: there is no access point: is there a wlan0?") || !strings.Contains(out, "did NOT work") {
		t.Errorf("the screen shows\n%s", out)
	}
	if got := d.read("run/cubeos/network-mode"); got != "OFFLINE\n" {
		t.Errorf("the network mode is %q", got)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.mustBoot()
	d.write("run/issue.d/cubeos.issue", "CubeOS    first boot complete\nWiFi      Anna\\\\n\nCable     \\4{eth0}\n\n")
	d.stubFile("eth0", "2: eth0    inet 192.0.2.5/24 brd 192.0.2.255 scope global dynamic eth0\n")
	d.stubFile("sick/npm", "")
	d.write("run/cubeos/watchdog/actions", "old\n1\n2\n3\nrestarted \x1b[2Jnpm\n")
	d.stubFile("journal", "CUBEOS: stage x: start\nCUBEOS: WARNING: no wlan0\nCUBEOS: WARNING: no wlan0\n")
	want := `CubeOS    first boot complete
WiFi      Anna\n
Cable     192.0.2.5
Network   OFFLINE
Service   cubeos-api answers
Service   cubeos-dashboard answers
Service   cubeos-hal answers
Service   npm DOES NOT ANSWER
Service   pihole answers
Watchdog  1
Watchdog  2
Watchdog  3
Watchdog  restarted [2Jnpm
Warning   no wlan0
`
	out, err := d.script("cubeos-state.sh", nil)
	seen, rest, _ := strings.Cut(out, "\n")
	if err != nil || !regexp.MustCompile(`^Seen      \d{4}-\d\d-\d\d [\d:]{8}, 16 min after the start$`).MatchString(seen) {
		t.Errorf("got %v, first line %q", err, seen)
	}
	if diff := cmp.Diff(want, rest); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if out, err := d.script("cubeos-state.sh", []string{filepath.Join(d.root, "state")}); err != nil || out != "" || !strings.HasSuffix(d.read("state"), want) {
		t.Errorf("into a file: %v\n%s", err, out)
	}

	// A boot on its way is not asked how its services are.
	d.write("run/cubeos/stage", "swarm 990\n")
	if out, err := d.script("cubeos-state.sh", nil); err != nil || strings.Contains(out, "Service ") {
		t.Errorf("during a boot: %v\n%s", err, out)
	}
}
