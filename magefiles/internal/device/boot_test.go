package device

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// jumps lead into the chains of the network mode.
var jumps = []string{
	"jump iptables filter CUBEOS-INPUT",
	"jump iptables filter CUBEOS-FORWARD",
	"jump iptables nat CUBEOS-POSTROUTING",
	"jump ip6tables filter CUBEOS-INPUT",
	"jump ip6tables filter CUBEOS-FORWARD",
}

// firstBoot is all a first boot changes, in the order docs/device.md promises. What
// starts at the same time is in the order of the alphabet.
var firstBoot = slices.Concat(
	loads(),
	jumps,
	[]string{"swarm init", "secret create cubeos_jwt_secret", "secret create cubeos_encryption_key"},
	starts("compose up ", services.Compose),
	[]string{"hostapd restart", "npm user api@cubeos.cube"},
	starts("stack deploy ", services.Stack),
	[]string{
		"proxy host pihole.cubeos.cube 6001",
		"proxy host npm.cubeos.cube 81",
		"proxy host api.cubeos.cube 6010",
		"proxy host cubeos.cube 6011",
		"proxy host 10.42.24.1 6011",
	},
)

// loads are in the order of the archives' sizes, which are those of the references.
func loads() []string {
	names := list().Names()
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = "load " + reference(name)
	}
	return names
}

func starts(how string, kind services.Kind) []string {
	names := list().Of(kind).Names()
	slices.Sort(names)
	for i, name := range names {
		names[i] = how + name
	}
	return names
}

func TestFirstBootThenNormalBoot(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	out, err := d.boot()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if diff := gocmp.Diff(firstBoot, inOrder(d.effects())); diff != "" {
		t.Errorf("effects of the first boot (-want +got):\n%s", diff)
	}
	if got := d.read("run/cubeos/boot-mode"); got != "first\n" {
		t.Errorf("boot mode %q, want first", got)
	}
	if !d.exists("var/lib/cubeos/first-boot-complete") {
		t.Error("there is no marker")
	}
	for _, want := range []string{"CUBEOS: stage swarm: done in ", "CUBEOS: first boot complete after "} {
		if !strings.Contains(out, want) {
			t.Errorf("the console does not show %q:\n%s", want, out)
		}
	}

	secrets := d.read("cubeos/config/secrets.env")
	if out, err := d.boot(); err != nil || !strings.Contains(out, "CUBEOS: normal boot complete after ") {
		t.Fatalf("second boot: %v\n%s", err, out)
	}
	// The stub's jumps outlive a boot; hostapd does not, but nothing changed for it.
	if diff := gocmp.Diff([]string(nil), d.effects()); diff != "" {
		t.Errorf("a normal boot with nothing missing changed something (-want +got):\n%s", diff)
	}
	if got := d.read("run/cubeos/boot-mode"); got != "normal\n" {
		t.Errorf("boot mode %q, want normal", got)
	}
	if d.read("cubeos/config/secrets.env") != secrets {
		t.Error("the second boot changed the secrets")
	}
}

// TestPowerCut cuts the power before each single call of a first boot, boots
// again, and wants everything done, and done once. With -short it takes a few of
// them, evenly spread.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	whole := newFake(t)
	whole.mustBoot()
	steps := whole.calls()
	if steps < 40 {
		t.Fatalf("a first boot made %d calls only: the stubs are not in its way", steps)
	}
	step := 1
	if testing.Short() {
		step = steps / 4 // test:integration cuts it before every one
	}
	for n := 1; n <= steps; n += step {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			if _, err := d.boot(fmt.Sprintf("STUB_DIE_AT=%d", n)); !powerCut(err) {
				t.Fatalf("the power was not cut: %v", err)
			}
			before := d.effects()
			if d.exists("var/lib/cubeos/first-boot-complete") && !slices.Equal(inOrder(before), firstBoot) {
				t.Fatalf("the marker was there before the end, after only\n%s", strings.Join(before, "\n"))
			}
			out, err := d.boot()
			if err != nil {
				t.Fatalf("the boot after: %v\n%s", err, out)
			}
			got := inOrder(append(before, d.effects()...))
			// hostapd is started by every boot, and an image whose archive is
			// still there is loaded again.
			want := slices.Clone(firstBoot)
			got = slices.DeleteFunc(got, repeats)
			want = slices.DeleteFunc(want, repeats)
			got = slices.Compact(got)
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("effects of both boots (-want +got):\n%s", diff)
			}
			if !d.exists("var/lib/cubeos/first-boot-complete") {
				t.Error("there is no marker")
			}
		})
	}
}

func repeats(effect string) bool {
	return strings.HasPrefix(effect, "hostapd ") || strings.HasPrefix(effect, "image rm ")
}

// loseSwarm leaves a device without its Swarm and all that was in it.
func (d *fake) loseSwarm() {
	for _, kept := range []string{"swarm", "secrets/cubeos_jwt_secret", "secrets/cubeos_encryption_key"} {
		d.unstub(kept)
	}
	for _, s := range list().Of(services.Stack) {
		d.unstub("services/" + s.SwarmService())
	}
}

func TestNormalBootRepairsWhatIsLost(t *testing.T) {
	takesLong(t)
	t.Parallel()
	newSwarm := append([]string{
		"swarm init", "secret create cubeos_jwt_secret", "secret create cubeos_encryption_key",
	}, starts("stack deploy ", services.Stack)...)
	booted := newFake(t)
	booted.mustBoot()
	booted.effects()
	says := map[string]string{
		"swarm without certificates":          "WARNING: Swarm's state is damaged: making a new Swarm",
		"swarm whose state Docker threw away": "WARNING: Swarm's state is lost: making a new Swarm",
		"stack":                               "WARNING: stack cubeos-dashboard is lost",
		"no bridge":                           "WARNING: cubeos-dashboard: Swarm's bridge is not there",
	}
	for name, tt := range map[string]struct {
		lose func(d *fake)
		want []string
	}{
		"container": {
			func(d *fake) { d.unstub("containers/cubeos-npm") },
			[]string{"compose up npm"},
		},
		"stack": {
			func(d *fake) { d.unstub("services/cubeos-dashboard_cubeos-dashboard") },
			[]string{"stack deploy cubeos-dashboard"},
		},
		"secret": {
			func(d *fake) { d.unstub("secrets/cubeos_jwt_secret") },
			[]string{"secret create cubeos_jwt_secret"},
		},
		"swarm": {
			func(d *fake) { d.stubFile("swarm", "error false\n") },
			append([]string{"swarm leave"}, newSwarm...),
		},
		"swarm that keeps Docker from starting": {
			func(d *fake) {
				d.write("var/lib/docker/swarm/damaged", "")
				d.loseSwarm()
				d.stubFile("orphans/0123456789ab", "")
			},
			append([]string{
				"systemctl stop docker", "systemctl reset-failed docker", "systemctl start docker", "rm 0123456789ab",
			}, newSwarm...),
		},
		"swarm without certificates": {
			func(d *fake) {
				d.write("var/lib/docker/swarm/docker-state.json", "{}")
				d.loseSwarm()
			},
			newSwarm,
		},
		"swarm whose state Docker threw away": {
			(*fake).loseSwarm,
			newSwarm,
		},
		"proxy host": {
			func(d *fake) { d.unstub("proxy-hosts/10.42.24.1") },
			[]string{"proxy host 10.42.24.1 6011"},
		},
		"account": {
			func(d *fake) { d.unstub("npm-users/api@cubeos.cube") },
			[]string{"npm user api@cubeos.cube"},
		},
		"sick container": {
			func(d *fake) { d.stubFile("sick/pihole", "") },
			[]string{"compose restart pihole"},
		},
		"sick stack": {
			func(d *fake) { d.stubFile("sick/cubeos-api", "") },
			[]string{"service update cubeos-api_cubeos-api"},
		},
		"other settings": {
			func(d *fake) {
				d.write(secretsFile, strings.Replace(d.read(secretsFile), "CUBEOS_PIHOLE_PASSWORD=cubeos", "CUBEOS_PIHOLE_PASSWORD=other", 1))
			},
			[]string{"compose up pihole", "stack deploy cubeos-api"},
		},
		"another bridge": {
			func(d *fake) { d.stubFile("bridge", `{"IPAM": {"Config": [{"Gateway": "172.20.0.1/20"}]}}`) },
			[]string{"stack deploy cubeos-dashboard"},
		},
		"no bridge": {
			func(d *fake) { d.stubFile("bridge", `{"IPAM": {"Config": []}}`) },
			[]string{"stack deploy cubeos-dashboard"},
		},
		"another version": {
			func(d *fake) { d.write("etc/cubeos-release", "CUBEOS_VERSION=1.2.4\n") },
			[]string{"stack deploy cubeos-api"},
		},
		"access point": {
			func(d *fake) { d.unstub("hostapd") },
			[]string{"hostapd start"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := booted.clone(t)
			tt.lose(d)
			out, err := d.boot()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := gocmp.Diff(tt.want, inOrder(d.effects())); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if !strings.Contains(out, says[name]) {
				t.Errorf("it does not say %q:\n%s", says[name], out)
			}
		})
	}
}

func TestFirstBootWithSomethingBroken(t *testing.T) {
	takesLong(t)
	t.Parallel()
	for name, tt := range map[string]struct {
		breakIt func(d *fake)
		repair  func(d *fake)
		says    string
		without string // the effect that can not happen
	}{
		"damaged archive": {
			func(d *fake) { d.write("var/lib/cubeos/images/cubeos-hal.tar", "garbage\n") },
			func(d *fake) { d.write("var/lib/cubeos/images/cubeos-hal.tar", reference("cubeos-hal")+"\n") },
			"cubeos-hal.tar is damaged",
			"compose up cubeos-hal",
		},
		"archive of something else": {
			func(d *fake) {
				d.write("var/lib/cubeos/images/images.env", strings.Replace(d.read("var/lib/cubeos/images/images.env"), reference("cubeos-hal"), "other:1", 1))
			},
			func(d *fake) {
				d.write("var/lib/cubeos/images/images.env", strings.Replace(d.read("var/lib/cubeos/images/images.env"), "other:1", reference("cubeos-hal"), 1))
			},
			"cubeos-hal.tar does not hold other:1",
			"",
		},
		"image lost": {
			func(d *fake) { d.remove("var/lib/cubeos/images/cubeos-dashboard.tar") },
			func(d *fake) {
				d.write("var/lib/cubeos/images/cubeos-dashboard.tar", reference("cubeos-dashboard")+"\n")
			},
			"cubeos-dashboard: its image " + reference("cubeos-dashboard") + " is not on this device",
			"stack deploy cubeos-dashboard",
		},
		"sick service": {
			func(d *fake) { d.stubFile("sick/pihole", "") },
			func(d *fake) { d.unstub("sick/pihole") },
			"pihole: it does not answer on http://127.0.0.1:6001/admin/ after 1 s",
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			tt.breakIt(d)
			out, err := d.boot()
			if err == nil {
				t.Fatalf("the boot claims success:\n%s", out)
			}
			if !strings.Contains(out, tt.says) {
				t.Errorf("the console does not say %q:\n%s", tt.says, out)
			}
			got := d.effects()
			for _, want := range firstBoot {
				if strings.HasPrefix(want, "load ") || want == tt.without {
					continue
				}
				if !slices.Contains(got, want) {
					t.Errorf("%q did not happen, though it does not need what is broken", want)
				}
			}
			if slices.Contains(got, tt.without) {
				t.Errorf("%q happened", tt.without)
			}

			tt.repair(d)
			if out, err := d.boot(); err != nil || !d.exists("var/lib/cubeos/first-boot-complete") {
				t.Errorf("the boot after it was repaired: %v\n%s", err, out)
			}
		})
	}
}

func TestNobodyIsToldTheNamesWithoutProxyManager(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.remove("var/lib/cubeos/images/npm.tar")
	out, err := d.boot()
	if err == nil {
		t.Fatalf("the boot claims success:\n%s", out)
	}
	if !strings.Contains(out, "ERROR: npm: its image ") || strings.Contains(out, "stage proxy-hosts") {
		t.Errorf("it should name npm's image and nothing that follows from it:\n%s", out)
	}
}

func TestFullDiskKeepsTheArchives(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.stubFile("full", "")
	out, err := d.script("cubeos-docker-preload.sh", nil)
	for _, name := range list().Names() {
		if err == nil || !strings.Contains(out, name+": the card is full: ") {
			t.Errorf("got %v and\n%s\nwant a failure that says why %s is not there", err, out, name)
		}
		if !d.exists("var/lib/cubeos/images/" + name + ".tar") {
			t.Errorf("%s.tar is gone", name)
		}
	}
}

// TestDockerIsDown wants what needs no Docker to come up nevertheless, and the
// Swarm state back where it was: it was not the reason.
func TestDockerIsDown(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.mustBoot()
	d.effects()
	d.unstub("hostapd")
	d.write("var/lib/docker/swarm/docker-state.json", "{}")
	d.stubFile("docker-broken", "")
	out, err := d.boot()
	if err == nil || !strings.Contains(out, "Docker does not start, so none of the services does") {
		t.Errorf("got %v and\n%s\nwant it to say that Docker does not start", err, out)
	}
	if got := d.effects(); !slices.Contains(got, "hostapd start") {
		t.Errorf("there is no access point; effects %q", got)
	}
	if !d.exists("var/lib/docker/swarm/docker-state.json") {
		t.Error("Swarm's state was not put back")
	}
}

// TestWithoutAList wants what needs no service to come up nevertheless.
func TestWithoutAList(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.remove("usr/local/share/cubeos/services.json")
	out, err := d.boot()
	if err == nil || !strings.Contains(out, "services.json can not be read, so no service is started") {
		t.Errorf("got %v and\n%s\nwant it to say that there is no list", err, out)
	}
	if got := d.effects(); !slices.Contains(got, "hostapd restart") {
		t.Errorf("there is no access point; effects %q", got)
	}
}

// inOrder sorts what is done at the same time.
func inOrder(effects []string) []string {
	kind := func(effect string) string {
		if strings.HasPrefix(effect, "npm ") {
			return "stack deploy " // the API's waits for it, the others do not
		}
		for _, kind := range []string{"compose up ", "stack deploy "} {
			if strings.HasPrefix(effect, kind) {
				return kind
			}
		}
		return ""
	}
	for at := 0; at < len(effects); {
		end := at + 1
		for end < len(effects) && kind(effects[at]) != "" && kind(effects[end]) == kind(effects[at]) {
			end++
		}
		slices.Sort(effects[at:end])
		at = end
	}
	return effects
}

func TestWithoutRadio(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.remove("sys/class/net/wlan0")
	out, err := d.boot()
	if err != nil {
		t.Fatalf("a device without wlan0 failed to boot: %v\n%s", err, out)
	}
	if !strings.Contains(out, "WARNING: no wlan0") {
		t.Errorf("nothing says why there is no access point:\n%s", out)
	}
	if d.exists("cubeos/config/ap.env") {
		t.Error("there is a name for an access point without a MAC to make it of")
	}

	d.write("sys/class/net/wlan0/address", "dc:a6:32:01:ab:cd\n")
	d.effects()
	d.mustBoot()
	if diff := gocmp.Diff([]string{"hostapd restart"}, d.effects()); diff != "" {
		t.Errorf("the boot that finds wlan0 (-want +got):\n%s", diff)
	}
}
