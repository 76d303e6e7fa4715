package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
)

// The bounds are for an emulated device on a slow machine that does other things
// too: several times what a boot takes.
const (
	bootBound  = 10 * time.Minute
	firstBound = 45 * time.Minute
	settle     = 5 * time.Minute
	quick      = 2 * time.Minute
)

// healthy is what is true of a device that is up, at any time.
func healthy() []boottest.Check {
	checks := []boottest.Check{systemRunning(), noFailedUnit(), swarmActive()}
	for _, name := range []string{"pihole", "npm", "hal"} {
		checks = append(checks, container(name))
	}
	for _, name := range []string{"cubeos-api", "cubeos-dashboard"} {
		checks = append(checks, stack(name))
	}
	return append(checks,
		answers("Pi-hole's web page", "http", 6001, "/admin/", 200, 301, 302, 307, 308),
		resolves("udp"),
		resolves("tcp"),
		answers("NPM's admin API", "http", 81, "/api/", 200),
		answers("NPM's proxy", "http", 80, "/", 200, 301, 302, 307, 308, 404),
		listens("NPM's proxy, TLS", 443),
		answers("HAL", "http", 6005, "/health", 200),
		answers("API", "http", 6010, "/health", 200),
		answers("Dashboard", "http", 6011, "/", 200),
		accessPoint(),
		rootGrown(),
	)
}

// inGuest asks by a shell command that root runs in the guest.
func inGuest(command string, judge func(out string) (seen string, err error)) func(context.Context, *boottest.Subject) (string, error) {
	return func(ctx context.Context, s *boottest.Subject) (string, error) {
		out, err := s.Run(ctx, command)
		if err != nil {
			return "", err
		}
		return judge(out)
	}
}

func kernelStarts() boottest.Check {
	return boottest.Check{
		Name: "kernel starts", Asserts: "the image's own kernel prints to the console",
		Bound: quick, Vital: true,
		Ask: func(_ context.Context, s *boottest.Subject) (string, error) {
			if s.Console.Boots() == 0 {
				return "", errors.New("the console shows no Linux kernel")
			}
			return "on the console", nil
		},
	}
}

func sshAnswers() boottest.Check {
	return boottest.Check{
		Name: "SSH answers", Asserts: "the user and key given to cloud-init can log in and use sudo",
		Bound: bootBound, Vital: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			return s.Run(ctx, `. /etc/os-release && echo "$PRETTY_NAME, Linux $(uname -r)"`)
		},
	}
}

func initFinished(mode string, bound time.Duration) boottest.Check {
	return boottest.Check{
		Name: "cubeos-init", Asserts: "cubeos-init.service has finished, as " + mode + " boot",
		// Asking costs an emulated guest a second of the boot that is waited for.
		Bound: bound, Every: 8 * time.Second, Vital: true,
		Ask: inGuest(`systemctl show cubeos-init.service -p LoadState,ActiveState,Result,ExecMainExitTimestampMonotonic
printf 'mode=%s\n' "$(cat /run/cubeos/boot-mode 2>/dev/null)"
if test -e /var/lib/cubeos/first-boot-complete; then echo complete=yes; fi`,
			func(out string) (string, error) { return judgeInit(out, mode) }),
	}
}

func judgeInit(out, mode string) (string, error) {
	v := keyValues(out)
	switch {
	case v["LoadState"] != "loaded":
		return "", boottest.Final("cubeos-init.service is %s", v["LoadState"])
	case v["ActiveState"] == "failed" || v["Result"] != "success":
		return "", boottest.Final("cubeos-init.service: %s, result %s", v["ActiveState"], v["Result"])
	case v["ActiveState"] == "activating" || v["ExecMainExitTimestampMonotonic"] == "0":
		return "", fmt.Errorf("cubeos-init.service is still %s", v["ActiveState"])
	case v["mode"] != mode:
		return "", boottest.Final("/run/cubeos/boot-mode says %q, expected %q", v["mode"], mode)
	case v["complete"] != "yes":
		return "", boottest.Final("cubeos-init.service succeeded, but there is no /var/lib/cubeos/first-boot-complete")
	}
	return mode + " boot, result success", nil
}

func systemRunning() boottest.Check {
	return boottest.Check{
		Name: "system state", Asserts: "systemctl is-system-running says running", Bound: settle,
		// Its exit status only repeats the word.
		Ask: inGuest("systemctl is-system-running || true; systemctl list-units --failed --plain --no-legend", func(out string) (string, error) {
			state, failed, _ := strings.Cut(out, "\n")
			switch state {
			case "running":
				return state, nil
			case "degraded":
				return "", boottest.Final("degraded: %s", strings.Join(strings.Fields(failed), " "))
			}
			return "", errors.New(state)
		}),
	}
}

func noFailedUnit() boottest.Check {
	return boottest.Check{
		Name: "failed units", Asserts: "no systemd unit failed", Bound: quick,
		Ask: inGuest("systemctl list-units --failed --plain --no-legend", func(out string) (string, error) {
			if out != "" {
				return "", boottest.Final("failed: %s", strings.Join(firstWords(out), ", "))
			}
			return "none", nil
		}),
	}
}

func swarmActive() boottest.Check {
	return boottest.Check{
		Name: "Swarm", Asserts: "Docker's Swarm is active", Bound: settle,
		Ask: inGuest("docker info --format '{{.Swarm.LocalNodeState}} Docker {{.ServerVersion}}'", func(out string) (string, error) {
			if state, rest, _ := strings.Cut(out, " "); state == "active" {
				return state + ", " + rest, nil
			}
			return "", fmt.Errorf("it says %q", out)
		}),
	}
}

func container(name string) boottest.Check {
	return boottest.Check{
		Name: "container " + name, Asserts: "the compose container of " + name + " runs and is not unhealthy", Bound: settle,
		Ask: inGuest(`docker ps -a --format '{{.Names}}|{{.Label "com.docker.compose.project"}}|{{.Label "com.docker.compose.service"}}|{{.State}}|{{.Status}}'`,
			func(out string) (string, error) { return judgeContainer(out, name) }),
	}
}

func judgeContainer(out, name string) (string, error) {
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 5 || f[1] == "" || !slices.ContainsFunc(f[:3], func(s string) bool { return hasWord(s, name) }) {
			continue
		}
		switch state, status := f[3], f[4]; {
		case state != "running", strings.Contains(status, "unhealthy"), strings.Contains(status, "health: starting"):
			return "", fmt.Errorf("%s is %s: %s", f[0], state, status)
		default:
			return f[0] + " " + status, nil
		}
	}
	return "", fmt.Errorf("there is no compose container of that name")
}

// hasWord reports whether name is one of the words of s, as in cubeos-hal.
func hasWord(s, name string) bool {
	return slices.Contains(strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '_' || r == '.' }), name)
}

func stack(name string) boottest.Check {
	return boottest.Check{
		Name: "stack " + name, Asserts: "every service of the stack " + name + " runs all its replicas", Bound: settle,
		Ask: inGuest("docker stack services "+name+" --format '{{.Name}} {{.Replicas}}'", judgeStack),
	}
}

func judgeStack(out string) (string, error) {
	if out == "" {
		return "", errors.New("the stack has no service")
	}
	var seen []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 2 || f[1] != "1/1" {
			return "", fmt.Errorf("%s, expected 1/1", strings.TrimSpace(line))
		}
		seen = append(seen, f[0]+" "+f[1])
	}
	return strings.Join(seen, ", "), nil
}

func accessPoint() boottest.Check {
	return boottest.Check{
		Name: "access point", Asserts: "hostapd is active on wlan0 with the SSID made from its MAC", Bound: settle,
		Ask: inGuest(`systemctl is-active --quiet hostapd.service || { systemctl status hostapd.service --no-pager -n 3 | sed 's/^/status /' && exit 0; }
echo active=yes
echo mac=$(cat /sys/class/net/wlan0/address)
iw dev wlan0 info | sed -n 's/^[[:space:]]*\(ssid\|type\) /\1=/p'`, judgeAccessPoint),
	}
}

func judgeAccessPoint(out string) (string, error) {
	v := keyValues(out)
	if v["active"] != "yes" {
		return "", fmt.Errorf("hostapd.service is not active: %s", strings.Join(strings.Fields(out), " "))
	}
	octets := strings.Split(strings.ToUpper(v["mac"]), ":")
	if len(octets) != 6 {
		return "", fmt.Errorf("wlan0 has the address %q", v["mac"])
	}
	want := "CubeOS-" + strings.Join(octets[3:], "")
	if v["type"] != "AP" || v["ssid"] != want {
		return "", fmt.Errorf("wlan0 is of type %q with SSID %q, expected AP with %q", v["type"], v["ssid"], want)
	}
	return fmt.Sprintf("%s on wlan0 (%s)", want, v["mac"]), nil
}

func rootIdentity() boottest.Check {
	return boottest.Check{
		Name: "root identity", Asserts: "/ is the artifact's root file system, by UUID and PARTUUID", Bound: quick,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			out, err := s.Run(ctx, "findmnt -no UUID,PARTUUID /")
			if err != nil {
				return "", err
			}
			want := s.Image.RootUUID + " " + s.Image.Root.PARTUUID
			if got := strings.Join(strings.Fields(out), " "); got != want {
				return "", boottest.Final("/ is %s, the artifact's root is %s", got, want)
			}
			return s.Image.Root.PARTUUID, nil
		},
	}
}

func reboots() boottest.Check {
	return boottest.Check{
		Name: "restarts", Asserts: "systemctl reboot brings the kernel up again", Bound: settle, Once: true, Vital: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			if s.BootID, err = bootID(ctx, s.Machine); err != nil {
				return "", err
			}
			return "the kernel starts again", s.Reboot(ctx)
		},
	}
}

func bootIDChanged() boottest.Check {
	return boottest.Check{
		Name: "boot id", Asserts: "it is another boot than before", Bound: quick, Vital: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			id, err := bootID(ctx, s.Machine)
			if err == nil && id == s.BootID {
				err = boottest.Final("the boot id is still %s", id)
			}
			return id, err
		},
	}
}

func bootID(ctx context.Context, m *machine.Machine) (string, error) {
	return m.Run(ctx, "cat /proc/sys/kernel/random/boot_id")
}

func powersOff() boottest.Check {
	return boottest.Check{
		Name: "powers off", Asserts: "systemctl poweroff ends the machine by itself", Bound: settle, Once: true, Off: true, Vital: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) { return "off", s.PowerOff(ctx) },
	}
}

func rootIsClean() boottest.Check {
	return boottest.Check{
		Name: "root is clean", Asserts: "e2fsck finds no fault in the root file system", Bound: settle, Once: true, Off: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			return "e2fsck -fn: clean", card.CheckRoot(ctx, s.Spec.Dir, s.Disk)
		},
	}
}
