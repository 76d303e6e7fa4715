package device

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const watchdog = "cubeos-watchdog.sh"

// dockersRules are what Docker has in a table of the firewall, as iptables-save
// tells it.
var dockersRules = map[string]string{
	"nat":    ":DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n-A DOCKER -p tcp -m tcp --dport 6011 -j DNAT --to-destination 172.16.16.3:8087\n",
	"filter": ":DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -j RETURN\n",
}

// watched is a device that has been up for a while.
func watched(t *testing.T) *fake {
	t.Helper()
	d := newFake(t)
	d.mustBoot()
	d.mkdir(filepath.Join(d.stub, "docker-rules"))
	for table, rules := range dockersRules {
		d.stubFile("docker-"+table, rules)
		d.stubFile("docker-rules/docker-"+table, rules)
	}
	d.effects()
	return d
}

// watch is a run of the watchdog at a second of this boot. It returns what was done,
// the banner aside.
func (d *fake) watch(second int) []string {
	d.t.Helper()
	d.write("proc/uptime", fmt.Sprintf("%d.25 17.00\n", second))
	if out, err := d.script(watchdog, nil); err != nil {
		d.t.Fatalf("at %d s: %v\n%s", second, err, out)
	}
	var done []string
	for _, effect := range d.effects() {
		if effect != "start cubeos-banner.service" {
			done = append(done, effect)
		}
	}
	return done
}

// actions are what the watchdog has noted, without the times.
func (d *fake) actions() []string {
	d.t.Helper()
	if !d.exists("run/cubeos/watchdog/actions") {
		return nil
	}
	var said []string
	for line := range strings.Lines(d.read("run/cubeos/watchdog/actions")) {
		said = append(said, strings.TrimSpace(line[len("2026-01-01 00:00:00 "):]))
	}
	return said
}

func (d *fake) sick(name string) { d.stubFile("sick/"+name, "") }

// TestWatchdog is a table of what is wrong, and when something is done about
// it first, in seconds, and what.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	healthy := watched(t)
	for name, tt := range map[string]struct {
		wrong func(d *fake)
		at    int // 0: never
		does  []string
		says  string
	}{
		"nothing": {wrong: func(*fake) {}},
		"container": {
			func(d *fake) { d.sick("pihole") }, 240, []string{"compose restart pihole"},
			"pihole has not answered for 180 s: restarting it",
		},
		"stack": {
			func(d *fake) { d.sick("cubeos-api") }, 240, []string{"service update cubeos-api_cubeos-api"},
			"cubeos-api has not answered for 180 s: restarting it",
		},
		"API and Dashboard": {
			func(d *fake) { d.sick("cubeos-api"); d.sick("cubeos-dashboard") }, 240, []string{"service update cubeos-api_cubeos-api"},
			"cubeos-api has not answered for 180 s: restarting it",
		},
		"two, one in each run": {
			func(d *fake) { d.sick("npm"); d.sick("pihole") }, 240, []string{"compose restart pihole"},
			"pihole has not answered for 180 s: restarting it",
		},
		"container that is gone": {
			func(d *fake) { d.unstub("containers/cubeos-npm") }, 240, []string{"compose up npm"},
			"npm has not answered for 180 s: restarting it",
		},
		"stack that is gone": {
			func(d *fake) { d.unstub("services/cubeos-dashboard_cubeos-dashboard") }, 240, []string{"stack deploy cubeos-dashboard"},
			"cubeos-dashboard has not answered for 180 s: restarting it",
		},
		"image that is not there": {
			wrong: func(d *fake) { d.sick("npm"); d.unstub("images/" + strings.ReplaceAll(reference("npm"), "/", "_")) },
		},
		"Docker": {
			func(d *fake) { d.stubFile("docker-broken", ""); d.sick("pihole") }, 240,
			[]string{"systemctl reset-failed docker", "systemctl restart docker"},
			"docker has not answered for 180 s: restarting it",
		},
		"access point": {
			func(d *fake) { d.unstub("hostapd") }, 240, []string{"hostapd start"},
			"access-point has not answered for 180 s: restarting it",
		},
		"no wlan0": {wrong: func(d *fake) { d.unstub("hostapd"); d.remove("sys/class/net/wlan0") }},
		"boot that goes on": {
			wrong: func(d *fake) { d.sick("pihole"); d.stubFile("init", "activating\n") },
		},
		"reset that was asked for": {
			wrong: func(d *fake) { d.sick("pihole"); d.write(resetMarker, "") },
		},
		"jump": {
			func(d *fake) { d.unstub("jump-iptables-nat-CUBEOS-POSTROUTING") }, 60, []string{"jump iptables nat CUBEOS-POSTROUTING"},
			"somebody has changed the firewall rules of the network mode: they are as they were",
		},
		"forwarding": {
			func(d *fake) { d.write("proc/sys/net/ipv4/ip_forward", "0\n") }, 60, nil,
			"somebody has changed the firewall rules of the network mode: they are as they were",
		},
		"mode that was switched off": {
			wrong: func(d *fake) { d.must("cubeos-network-mode.sh", "off"); d.effects() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := healthy.clone(t)
			if got := d.watch(0); got != nil {
				t.Fatalf("something is done to a device in good health: %q", got)
			}
			tt.wrong(d)
			for _, second := range []int{60, 230, 240, 300} {
				got, said := d.watch(second), d.actions()
				if second != tt.at {
					if got != nil || said != nil {
						t.Fatalf("after %d s it does %q and says %q", second, got, said)
					}
					continue
				}
				if diff := cmp.Diff(tt.does, got); diff != "" {
					t.Errorf("after %d s (-want +got):\n%s", second, diff)
				}
				if diff := cmp.Diff([]string{tt.says}, said); diff != "" {
					t.Errorf("it says (-want +got):\n%s", diff)
				}
				return
			}
			if tt.at != 0 {
				t.Error("nothing was done")
			}
		})
	}
}

// TestWatchdogLimits has a service never get well for hours.
func TestWatchdogLimits(t *testing.T) {
	t.Parallel()
	d := watched(t)
	d.sick("npm")
	const problem = "run/cubeos/watchdog/npm.problem"
	restarts := func(from, to, step int) (n int) {
		for second := from; second < to; second += step {
			n += len(d.watch(second))
			d.sick("npm") // it was to be of no use
		}
		return n
	}
	if got := restarts(0, 3600, 200); got != 3 || !d.exists(problem) {
		t.Errorf("%d restarts in the first hour, and it is given up: %v", got, d.exists(problem))
	}
	if got := restarts(3600, 36000, 1200); got != 3 {
		t.Errorf("%d more restarts in nine hours, want 3", got)
	}
	said := d.actions()
	if got := said[len(said)-1]; got != "npm does not answer, though it was restarted 6 times: it is left alone" {
		t.Errorf("it says %q last", got)
	}
	if got := len(said); got > 50 {
		t.Errorf("%d lines", got)
	}
	d.must("cubeos-banner.sh")
	if banner := d.read("run/issue.d/cubeos.issue"); !strings.Contains(banner, "Problem   npm does not answer") || !strings.Contains(banner, "Watchdog  ") {
		t.Errorf("the banner says\n%s", banner)
	}
	d.unstub("sick/npm")
	d.watch(36000)
	if said := d.actions(); said[len(said)-1] != "npm answers again" || d.exists(problem) {
		t.Errorf("it says %q last", said[len(said)-1])
	}
}

// TestWatchdogWaitsForOthers wants nothing started while somebody else starts
// services.
func TestWatchdogWaitsForOthers(t *testing.T) {
	t.Parallel()
	d := watched(t)
	d.sick("pihole")
	d.watch(0)
	path := filepath.Join(d.root, "run/cubeos/services.lock")
	held, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if got := d.watch(300); got != nil {
		t.Errorf("it does %q", got)
	}
	held.Close()
	if diff := cmp.Diff([]string{"compose restart pihole"}, d.watch(360)); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

// TestDockersFirewall removes Docker's rules, as HAL does.
func TestDockersFirewall(t *testing.T) {
	t.Parallel()
	before := watched(t)
	before.watch(0)
	reset := func(d *fake) {
		for table := range dockersRules {
			d.unstub("docker-" + table)
		}
	}
	for name, tt := range map[string]struct {
		wrong func(d *fake)
		does  []string
		says  string
	}{
		"all": {reset, nil, "somebody has removed Docker's firewall rules: they are as they were"},
		"a jump": {
			func(d *fake) {
				d.stubFile("docker-nat", strings.Replace(dockersRules["nat"], "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n", "", 1))
			},
			nil, "somebody has removed Docker's firewall rules: they are as they were",
		},
		"none that were kept": {
			func(d *fake) { reset(d); d.remove("run/cubeos/watchdog") },
			[]string{"systemctl reset-failed docker", "systemctl restart docker"},
			"somebody has removed Docker's firewall rules: restarting Docker, which makes them",
		},
		"cannot be put in": {
			func(d *fake) { reset(d); d.stubFile("cannot-restore", "") },
			[]string{"systemctl reset-failed docker", "systemctl restart docker"},
			"somebody has removed Docker's firewall rules: restarting Docker, which makes them",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := before.clone(t)
			tt.wrong(d)
			if diff := cmp.Diff(tt.does, d.watch(60)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{tt.says}, d.actions()); diff != "" {
				t.Errorf("it says (-want +got):\n%s", diff)
			}
			for table, want := range dockersRules {
				for line := range strings.Lines(want) {
					if !strings.Contains(d.stubbed("docker-"+table), line) {
						t.Errorf("%s: %q is not there", table, line)
					}
				}
			}
			if got := d.watch(120); got != nil {
				t.Errorf("the next run does %q", got)
			}
		})
	}
}
