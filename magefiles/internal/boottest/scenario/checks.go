package scenario

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
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
func healthy(l services.List) []boottest.Check {
	checks := []boottest.Check{systemRunning(), noFailedUnit(), swarmActive()}
	for _, s := range l {
		checks = append(checks, runs(s))
	}
	for _, s := range l {
		checks = append(checks, serves(s)...)
	}
	return append(checks, accessPoint(), rootGrown())
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
		Bound: quick, Vital: true, Needs: boottest.NeedConsole,
		Ask: func(_ context.Context, s *boottest.Subject) (string, error) {
			if s.Emulator.Console.Boots() == 0 {
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
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			out, err := s.Run(ctx, askInit)
			if err != nil {
				return "", err
			}
			if mode == "first" && s.FirstBootPast {
				seen, err := judgeInit(out, "normal")
				return seen + "; the device's first boot is past", err
			}
			return judgeInit(out, mode)
		},
	}
}

const askInit = `systemctl show cubeos-init.service -p LoadState,ActiveState,Result,ExecMainExitTimestampMonotonic
printf 'mode=%s\n' "$(cat /run/cubeos/boot-mode 2>/dev/null)"
if test -e /var/lib/cubeos/first-boot-complete; then echo complete=yes; fi`

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

// runs asserts that Docker runs a service in the way that the list says.
func runs(s services.Service) boottest.Check {
	if s.Kind == services.Stack {
		return boottest.Check{
			Name: "stack " + s.Name, Asserts: "its one service " + s.SwarmService() + " runs all its replicas", Bound: settle,
			Ask: inGuest("docker stack services "+s.Name+" --format '{{.Name}} {{.Replicas}}'", func(out string) (string, error) { return judgeStack(out, s) }),
		}
	}
	return boottest.Check{
		Name: "container " + s.Name, Asserts: "the compose project's container " + s.ContainerName() + " runs and is not unhealthy", Bound: settle,
		Ask: inGuest(`docker ps -a --format '{{.Names}}|{{.Label "com.docker.compose.project"}}|{{.Label "com.docker.compose.service"}}|{{.State}}|{{.Status}}'`,
			func(out string) (string, error) { return judgeContainer(out, s) }),
	}
}

func judgeContainer(out string, s services.Service) (string, error) {
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "|")
		if len(f) != 5 || f[0] != s.ContainerName() {
			continue
		}
		switch state, status := f[3], f[4]; {
		case f[1] != s.Name || f[2] != s.Name:
			return "", fmt.Errorf("%s is of the project %q, service %q, expected %s for both", f[0], f[1], f[2], s.Name)
		case state != "running", strings.Contains(status, "unhealthy"), strings.Contains(status, "health: starting"):
			return "", fmt.Errorf("%s is %s: %s", f[0], state, status)
		default:
			return f[0] + " " + status, nil
		}
	}
	return "", fmt.Errorf("there is no container %s", s.ContainerName())
}

func judgeStack(out string, s services.Service) (string, error) {
	if out == "" {
		return "", errors.New("the stack has no service")
	}
	if f := strings.Fields(out); len(f) < 2 || strings.Contains(out, "\n") || f[0] != s.SwarmService() || f[1] != "1/1" {
		return "", fmt.Errorf("the stack has %q, expected %s 1/1 alone", out, s.SwarmService())
	}
	return out, nil
}

// dockerName is what Docker calls a service's container, of a task without what
// Swarm puts behind it.
func dockerName(s services.Service) string {
	if s.Kind == services.Stack {
		return s.SwarmService()
	}
	return s.ContainerName()
}

// task is what Swarm puts behind the name of a service: .1.lhqnl2cvp8bmqfzbj6ms19g3v
var task = regexp.MustCompile(`\.\d+\.[0-9a-z]{25}\b`)

func withoutTask(line string) string { return task.ReplaceAllString(strings.TrimSpace(line), "") }

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
		Name: "root identity", Asserts: "/ is the artifact's root file system, by UUID and PARTUUID", Bound: quick, Needs: boottest.NeedArtifact,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			out, err := s.Run(ctx, "findmnt -no UUID,PARTUUID /")
			if err != nil {
				return "", err
			}
			want := s.Image.RootUUID + " " + s.Image.RootPARTUUID
			if got := strings.Join(strings.Fields(out), " "); got != want {
				return "", boottest.Final("/ is %s, the artifact's root is %s", got, want)
			}
			return s.Image.RootPARTUUID, nil
		},
	}
}

func reboots() boottest.Check {
	return boottest.Check{
		Name: "restarts", Asserts: "systemctl reboot brings the kernel up again", Bound: bootBound, Once: true, Vital: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			if s.BootID, err = bootID(ctx, s); err != nil {
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
			id, err := bootID(ctx, s)
			if err == nil && id == s.BootID {
				err = boottest.Final("the boot id is still %s", id)
			}
			return id, err
		},
	}
}

func bootID(ctx context.Context, s *boottest.Subject) (string, error) {
	return s.Run(ctx, "cat /proc/sys/kernel/random/boot_id")
}

func powersOff() boottest.Check {
	return boottest.Check{
		Name: "powers off", Asserts: "systemctl poweroff ends the machine by itself", Bound: settle, Once: true, Off: true, Vital: true, Needs: boottest.NeedPower,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) { return "off", s.Emulator.PowerOff(ctx) },
	}
}

func rootIsClean() boottest.Check {
	return boottest.Check{
		Name: "root is clean", Asserts: "e2fsck finds no fault in the root file system", Bound: settle, Once: true, Off: true, Needs: boottest.NeedCard,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			return "e2fsck -fn: clean", card.CheckRoot(ctx, s.Emulator.Spec.Dir, s.Disk)
		},
	}
}
