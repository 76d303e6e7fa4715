package scenario

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// base is about what is below Docker and the services.
func base(l services.List) []boottest.Scenario {
	var containers []string
	for _, s := range l.Of(services.Compose) {
		containers = append(containers, s.ContainerName())
	}
	return []boottest.Scenario{
		{
			Name: "base", About: "user, system settings, memory and Docker are as the recipe and configs/ want them",
			Core: true, Harmless: true, From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "system", Checks: []boottest.Check{
					setting("host name", "hostname", func(s boottest.Settings) string { return s.Hostname }),
					setting("locale", ". /etc/locale.conf && locale -a | tr -d - | grep -qix \"$(echo $LANG | tr -d -)\" && echo $LANG", func(s boottest.Settings) string { return s.Locale }),
					setting("time zone", "timedatectl show --property Timezone --value", func(s boottest.Settings) string { return s.Timezone }),
					setting("administrator", "id -un 1000", func(s boottest.Settings) string { return s.User }),
					says("sudo", "the administrator becomes root without a password", `sudo -u "$(id -un 1000)" sudo -n id -un`, "root"),
					matches("no password", "neither root nor the administrator has one", `getent shadow root "$(id -un 1000)" | cut -d: -f2`, `\A[!*]+\n[!*]+\z`),
					matches("sysctl", "all of sysctl.d/90-cubeos.conf is in force", inForce, `\A[1-9]\d* in force\z`),
					says("forwarding", "packets are forwarded", "sysctl -n net.ipv4.ip_forward", "1"),
					says("swap", "zram, and nothing on the card", "swapon --noheadings --show=NAME", "/dev/zram0"),
					zramSized(),
					matches("root file system", "e2fsck looked at it before it was mounted", "cat /run/initramfs/fsck.log 2>/dev/null || journalctl -b -o cat -u systemd-fsck-root.service", `: (clean|recovering journal)`),
					says("journal", "it is in memory only", "ls -d /var/log/journal 2>/dev/null; journalctl --header | sed -nE 's|^File path: (/[^/]+/[^/]+/[^/]+)/.*|\\1|p' | sort -u", "/run/log/journal"),
					upgrades(),
					says("watchdog", "systemd would hold one", "systemctl show --property RuntimeWatchdogUSec,RebootWatchdogUSec --value", "1min\n5min"),
					needing(boottest.NeedNoWatchdog, says("no watchdog", "where there is none, nothing is said of it", `ls /dev/watchdog* 2>/dev/null; journalctl -b -p warning -q -o cat | awk 'tolower($0) ~ /watchdog/'`, "")),
					noFailedUnit(),
					noUnexplainedErrors(), // of the first boot: it is the same one
				}},
				{Name: "Docker", Checks: []boottest.Check{
					says("configuration", "dockerd accepts it", "dockerd --validate --config-file=/etc/docker/daemon.json 2>&1", "configuration OK"),
					says("in force", "json-file logs, no live restore, which Swarm refuses", "docker info --format '{{.LoggingDriver}} {{.LiveRestoreEnabled}}'", "json-file false"),
					says("storage", "images are stored by the graph driver, whoever's Docker it is", "docker info --format '{{.Driver}}'", "overlay2"),
					says("log limits", "every container's log is limited", "docker inspect --format '{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}}' $(docker ps --all --quiet) | sort -u", "json-file map[max-file:3 max-size:10m]"),
					says("warnings", "it lacks nothing of the kernel", "docker info --format '{{range .Warnings}}{{println .}}{{end}}'", ""),
				}},
			},
		},
		{
			Name: "sockets", About: "nothing listens but what golden/sockets.txt and services.json name, and nowhere else than they say",
			Core: true, Harmless: true, From: boottest.Running,
			Phases: []boottest.Phase{{Name: "running", Checks: []boottest.Check{listeningSockets(l)}}},
		},
		{
			Name: "memory", About: "the system with Docker, but without services, is content with 350 MB",
			From: boottest.Running,
			Phases: []boottest.Phase{{Name: "idle", Checks: []boottest.Check{
				does("watchdog off", "systemctl stop cubeos-watchdog.timer"), // it would bring them back
				does("stacks away", "docker stack rm "+strings.Join(l.Of(services.Stack).Names(), " ")),
				does("containers away", "docker rm --force "+strings.Join(containers, " ")),
				says("nothing runs", "Docker is idle", "docker ps --quiet", ""),
				idleMemory(350e6),
			}}},
		},
		{
			Name: "watchdog", About: "a system that hangs is restarted by the watchdog and comes up operational",
			Device: boottest.Device{Watchdog: true},
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: []boottest.Check{
					kernelStarts(), sshAnswers(), initFinished("first", firstBound),
					says("armed", "systemd feeds it", "systemctl show --property WatchdogDevice --value; cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout", "/dev/watchdog0\nactive\n60"),
					noUnexplainedErrors(),
				}},
				{Name: "hang", Checks: slices.Concat(
					[]boottest.Check{hangs(), sshAnswers(), bootIDChanged(), initFinished("normal", bootBound)},
					healthy(l),
				)},
			},
		},
		{
			Name: "clock-1970", About: "a device whose clock begins in 1970, as a Pi's does, comes up operational",
			Device: boottest.Device{Clock: "1970-01-01T00:00:00"},
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: slices.Concat(
					[]boottest.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)},
					healthy(l),
					[]boottest.Check{
						consoleShows("epoch", `systemd\[1\]: System time advanced to`),
						matches("hardware clock", "it shows 1970, if the kernel knows it", "cut -d- -f1 /sys/class/rtc/rtc0/date 2>/dev/null || echo none", `\A(1970|none)\n*\z`),
						says("clock", "the system's clock is not before this build", `[ "$(date +%s)" -ge "$(stat -c %Y /usr/lib/clock-epoch)" ] && echo later`, "later"),
						does("note the time", "date +%s >/var/tmp/noted"),
					},
				)},
				{Name: "reboot", Checks: slices.Concat(
					[]boottest.Check{reboots(), sshAnswers(), bootIDChanged(), initFinished("normal", bootBound)},
					healthy(l),
					[]boottest.Check{says("clock goes on", "it is later than before", `[ "$(date +%s)" -gt "$(cat /var/tmp/noted)" ] && echo later`, "later")},
				)},
			},
		},
	}
}

// inForce counts the settings of ours that the kernel has and names the others.
const inForce = `file=/etc/sysctl.d/90-cubeos.conf n=0
while IFS='= ' read -r key value; do
  case $key in '' | '#'*) continue ;; esac
  if [ "$(sysctl -n "$key")" = "$value" ]; then n=$((n + 1)); else echo "$key is $(sysctl -n "$key")"; fi
done <$file
echo "$n in force"`

// setting asserts that the device has what the recipe says.
func setting(name, command string, want func(boottest.Settings) string) boottest.Check {
	return boottest.Check{
		Name: name, Asserts: "it is the recipe's", Bound: quick,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			return says(name, "", command, want(s.Settings)).Ask(ctx, s)
		},
	}
}

func upgrades() boottest.Check {
	return boottest.Check{
		Name: "unattended upgrades", Asserts: "only where the recipe asks for them", Bound: quick,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			want := "absent masked masked"
			if s.Settings.UnattendedUpgrades {
				want = "installed enabled enabled"
			}
			// is-enabled fails where it says masked.
			return says("", "", `state=$(dpkg-query -W -f '${db:Status-Status}' unattended-upgrades 2>/dev/null) || state=absent
echo $state $(systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer)`, want).Ask(ctx, s)
		},
	}
}

func zramSized() boottest.Check {
	return boottest.Check{
		Name: "zram size", Asserts: "half of this device's memory, at most 2 GiB", Bound: quick,
		Ask: inGuest("cat /sys/block/zram0/disksize; awk '$1 == \"MemTotal:\" { print $2 * 1024 }' /proc/meminfo", judgeZram),
	}
}

func judgeZram(out string) (string, error) {
	n, err := integers(out, 2)
	if err != nil {
		return "", err
	}
	zram, memory := n[0], n[1]
	want := min(memory/2, 2<<30)
	if diff := zram - want; diff > 4<<20 || diff < -4<<20 {
		return "", boottest.Final("%s of zram for %s of memory, expected %s", mib(zram), mib(memory), mib(want))
	}
	return fmt.Sprintf("%s for %s of memory", mib(zram), mib(memory)), nil
}

func idleMemory(limit int64) boottest.Check {
	return boottest.Check{
		Name: "memory", Asserts: fmt.Sprintf("MemTotal less MemAvailable is at most %d MB", limit/1e6), Bound: quick,
		Ask: inGuest("awk '$1 == \"MemTotal:\" || $1 == \"MemAvailable:\" { print $2 * 1024 }' /proc/meminfo", func(out string) (string, error) {
			return judgeMemory(out, limit)
		}),
	}
}

func judgeMemory(out string, limit int64) (string, error) {
	n, err := integers(out, 2)
	if err != nil {
		return "", err
	}
	used := fmt.Sprintf("%d MB used of %d MB", (n[0]-n[1])/1e6, n[0]/1e6)
	if n[0]-n[1] > limit {
		return "", fmt.Errorf("%s, expected at most %d MB", used, limit/1e6)
	}
	return used, nil
}

func integers(out string, want int) ([]int64, error) {
	var n []int64
	for f := range strings.FieldsSeq(out) {
		i, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return nil, err
		}
		n = append(n, i)
	}
	if len(n) != want {
		return nil, fmt.Errorf("the guest told %d numbers, expected %d: %q", len(n), want, out)
	}
	return n, nil
}

// hangs is a step: process 1 stops for good, and only the watchdog can help.
func hangs() boottest.Check {
	return boottest.Check{
		Name: "hangs", Asserts: "systemd is frozen; the watchdog restarts the machine", Bound: settle, Once: true, Vital: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			if s.BootID, err = bootID(ctx, s); err != nil {
				return "", err
			}
			return "the kernel starts again", s.Restart(ctx, func(ctx context.Context) error {
				_, err := s.Run(ctx, "sync; echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze")
				return err
			})
		},
	}
}
