package scenario

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// watchdogAndReset is what helps a device by itself, and what helps when nothing else
// does.
func watchdogAndReset(l services.List) []boottest.Scenario {
	npm, hal := service(l, proxy), service(l, hal)
	return []boottest.Scenario{
		{
			Name: "unhealthy-service", About: "a service that does not answer is restarted, one that never does is left alone after some attempts, and a firewall that was emptied is filled again",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "hangs", Checks: slices.Concat(
					[]boottest.Check{
						does("impatient watchdog", impatientWatchdog),
						does("a service hangs", "docker pause "+npm.ContainerName()),
						watchdogDoes("restarted", npm.Name+` has not answered for 60 s: restarting it`),
						matches("journal", "it says so, too", "journalctl -b -o cat -u cubeos-watchdog.service", `CUBEOS: watchdog: `+npm.Name+` has not answered for 60 s`),
						settles(consoleShows("banner", `Watchdog +.* `+npm.Name+` has not answered for 60 s`)),
						says("once", "and nothing else was restarted", "grep -c restarting /run/cubeos/watchdog/actions", "1"),
					},
					healthy(l),
				)},
				{Name: "never gets well", Checks: slices.Concat(
					[]boottest.Check{
						does("a service is never reached", "iptables -I INPUT -i lo -p tcp --dport "+strconv.Itoa(hal.HTTP.Port)+" -j DROP"),
						watchdogDoes("left alone", hal.Name+` does not answer, though it was restarted 2 times: it is left alone`),
						says("limit", "it was restarted so often", "grep -c '"+hal.Name+" has not answered' /run/cubeos/watchdog/actions", "2"),
						settles(consoleShows("banner", `Problem +`+hal.Name+` does not answer, though it was restarted`)),
						does("it is reached again", "iptables -D INPUT -i lo -p tcp --dport "+strconv.Itoa(hal.HTTP.Port)+" -j DROP"),
						watchdogDoes("well again", hal.Name+` answers again`),
					},
					healthy(l),
				)},
				{Name: "firewall", Checks: slices.Concat(
					[]boottest.Check{
						does("noted", ruleSet+" >/var/tmp/rules; "+startedAt+" >/var/tmp/started"),
						does("HAL's reset of the firewall", "iptables -F && iptables -X && iptables -t nat -F && iptables -t nat -X && ! iptables -t nat -S DOCKER 2>/dev/null"),
						watchdogDoes("Docker's rules", `somebody has removed Docker's firewall rules: they are as they were`),
						watchdogDoes("rules of the network mode", `somebody has changed the firewall rules of the network mode: they are as they were`),
						settles(says("the same", "every rule is there again", ruleSet+" | diff /var/tmp/rules -", "")),
						says("no restart", "no container was restarted for that", startedAt+" | diff /var/tmp/started -", ""),
					},
					healthy(l),
				)},
			},
		},
		{
			Name: "factory-reset", About: "a factory reset, even one that the power interrupts, leaves nothing of the owner, and the device does its first boot again",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "owner", Checks: slices.Concat(
					[]boottest.Check{does("apply", applySetup)},
					setUp(),
					[]boottest.Check{
						does("wlan1's network", "echo twelve-eggs | cubeos-network-mode ONLINE_WIFI "+ownerMark),
						does("what is the owner's", ownerThings),
						does("an app", ownerApp(npm)),
						does("a disk", ownerDisk),
						does("the next owner", nextOwner),
					},
				)},
				{Name: "reset", Checks: []boottest.Check{
					asksForReset(),
					often(consoleShows("begins", `CUBEOS: stage reset-files: start`)),
					cutsPower(),
					resetEnds(),
					sshAnswers(), initFinished("first", firstBound),
				}},
				{Name: "as from the card", Checks: slices.Concat(
					healthy(l),
					nothingTwice(l),
					[]boottest.Check{
						lists("nothing of the owner", "no file has or is called what the owner's have", leftovers, strings.TrimSpace, nil),
						says("the owner's disk", "it is as it was", "cat /cubeos/mounts/disk/film", ownerMark),
						says("users", "only the image's is left", `getent passwd | awk -F: '$3 >= 1000 && $3 < 60000 { print $1 }' | xargs; getent group sudo | cut -d: -f4`, "cubeos\ncubeos"),
						matches("no password", "neither root nor the administrator has one", `getent shadow root "$(id -un 1000)" | cut -d: -f2`, `\A[!*]+\n[!*]+\z`),
						says("Docker", "there is nothing but the services' images", `docker volume ls --quiet | grep -c `+ownerMark+` || true; docker image ls --quiet --all | sort -u | wc -l`, "0\n"+strconv.Itoa(len(l))),
						says("identity", "machine id, host keys and secrets are new", identity+" | comm -12 /usr/lib/owner/identity - | wc -l", "0"),
						says("boot partition", "no key and no password is in the image's user-data", "grep -ciE 'ssh|passw' /usr/lib/owner/reset/user-data || true; ls /boot/firmware | grep -c '^cubeos-' || true", "0\n0"),
						setting("host name", "hostname", func(s boottest.Settings) string { return s.Hostname }),
						setting("time zone", "timedatectl show --property Timezone --value", func(s boottest.Settings) string { return s.Timezone }),
						says("network mode", "it is the first one", "cubeos-network-mode", "OFFLINE"),
						says("set-up", "it is not complete", setupStatus, "false"),
						matches("Dashboard", "admin can log in with cubeos", logsInAtDashboard("cubeos"), `"access_token"`),
						matches("Pi-hole", "cubeos is its password", asksPihole("cubeos"), "^true$"),
						matches("Nginx Proxy Manager", "admin@cubeos.cube can log in with changeme", logsInAtProxy("changeme"), `"token"`),
					},
				)},
			},
		},
	}
}

// impatientWatchdog has the watchdog look, wait and give up sooner.
const impatientWatchdog = `cd /run/systemd/system && mkdir -p cubeos-watchdog.service.d cubeos-watchdog.timer.d
printf '[Service]\nEnvironment=CUBEOS_WATCHDOG_PATIENCE=60 CUBEOS_WATCHDOG_PER_HOUR=2\n' >cubeos-watchdog.service.d/sooner.conf
printf '[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=10s\nAccuracySec=1s\n' >cubeos-watchdog.timer.d/sooner.conf
systemctl daemon-reload && systemctl restart cubeos-watchdog.timer`

func watchdogDoes(name, expression string) boottest.Check {
	c := matches(name, "the watchdog notes: "+expression, "cat /run/cubeos/watchdog/actions 2>/dev/null || true", expression)
	c.Bound = bootBound
	return c
}

const (
	ruleSet   = `iptables-save | grep '^-A' | sort`
	startedAt = `docker inspect --format '{{.Name}} {{.State.StartedAt}}' $(docker ps --quiet) | sort`
)

// ownerMark is in the content or the name of all that is the owner's.
const ownerMark = "OWNER-7f3a"

// ownerThings is what a person, apps and programs leave in the course of time.
const ownerThings = `set -eu
mark=` + ownerMark + `
useradd --create-home --groups sudo,docker anna
printf 'anna:%s\ncubeos:%s\n' $mark $mark | chpasswd
echo $mark | tee /home/anna/diary /home/cubeos/.bash_history /root/notes /opt/tool /srv/file /usr/local/bin/own \
  /cubeos/data/$mark /cubeos/apps/$mark /var/tmp/$mark /etc/cron.d/own /boot/firmware/cubeos-wifi.txt >/dev/null
mkdir -p /home/cubeos/.ssh /photos /cubeos/mounts/left
echo "# $mark" >>/home/cubeos/.ssh/authorized_keys
echo $mark | tee /photos/one /cubeos/mounts/left/one >/dev/null
echo "# $mark" | tee -a /etc/ssh/sshd_config.d/10-cubeos.conf /etc/dhcpcd.conf /usr/local/share/cubeos/defaults.env /boot/firmware/user-data >/dev/null
printf '[Unit]\nDescription=%s\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' $mark >/etc/systemd/system/own.service
systemctl enable own.service`

// ownerApp makes a container, a volume and images that are not the device's.
func ownerApp(s services.Service) string {
	return strings.NewReplacer("CONTAINER", s.ContainerName(), "MARK", ownerMark).Replace(`set -eu
image=$(docker inspect --format '{{.Config.Image}}' CONTAINER)
docker create --name MARK --volume MARK:/data $image
echo MARK >/var/lib/docker/volumes/MARK/_data/file
docker tag $image example/own:1
mkdir /tmp/image && echo MARK >/tmp/image/file && tar -cC /tmp/image . | docker import - example/other:1`)
}

// ownerDisk is mounted where HAL mounts disks, also while the device is reset. It is
// kept, as the key of the next owner is, where only packages have something to say.
const ownerDisk = `set -eu
mkdir -p /usr/lib/owner /cubeos/mounts/disk
truncate -s 8M /usr/lib/owner/disk && mke2fs -q -t ext4 /usr/lib/owner/disk
printf '[Unit]\nDefaultDependencies=no\nBefore=local-fs.target\n[Mount]\nWhat=/usr/lib/owner/disk\nWhere=/cubeos/mounts/disk\nOptions=loop\n' >/usr/lib/systemd/system/cubeos-mounts-disk.mount
mkdir -p /usr/lib/systemd/system/local-fs.target.wants
ln -s ../cubeos-mounts-disk.mount /usr/lib/systemd/system/local-fs.target.wants/
systemctl daemon-reload && systemctl start cubeos-mounts-disk.mount
echo ` + ownerMark + ` >/cubeos/mounts/disk/film`

// nextOwner stands for a person who takes the card out after the reset, keeps what is
// on the boot partition in /usr/lib/owner/reset and has Raspberry Pi Imager's settings
// put there: without a key nobody could look at the device.
const nextOwner = `set -eu
mkdir -p /usr/lib/owner/settings /usr/lib/systemd/system/sysinit.target.wants
` + identity + ` >/usr/lib/owner/identity
cp /boot/firmware/user-data /boot/firmware/meta-data /usr/lib/owner/settings/
sed -i /` + ownerMark + `/d /usr/lib/owner/settings/user-data
cat >/usr/lib/systemd/system/next-owner.service <<'END'
[Unit]
DefaultDependencies=no
RequiresMountsFor=/boot/firmware
After=systemd-remount-fs.service
Before=cloud-init-main.service cloud-init-local.service
ConditionPathExists=!/var/lib/cubeos/factory-reset
ConditionPathExists=!/usr/lib/owner/reset
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mkdir /usr/lib/owner/reset && cp /boot/firmware/user-data /boot/firmware/meta-data /usr/lib/owner/reset/ && cp /usr/lib/owner/settings/* /boot/firmware/'
END
ln -s ../next-owner.service /usr/lib/systemd/system/sysinit.target.wants/
sync`

// identity prints what no two devices have the same.
const identity = `{ cat /etc/machine-id; cut -d ' ' -f 2 /etc/ssh/ssh_host_*_key.pub; grep -E '^(JWT_SECRET|CUBEOS_ENCRYPTION_KEY|HAL_CORE_KEY|NPM_API_PASSWORD)=' /cubeos/config/secrets.env; } | sort`

// leftovers prints the files that have the owner's mark or are called so.
const leftovers = `cd / && {
  grep -rlsF ` + ownerMark + ` boot etc home media mnt opt root srv usr/local cubeos/[a-ln-z]* cubeos/mounts/[!d]* var --exclude-dir=overlay2
  find / -xdev -name '*` + ownerMark + `*' ! -path '/proc/*'
  ls -d /photos /home/anna /usr/local/bin/own /etc/systemd/system/own.service /etc/systemd/system/*/own.service 2>/dev/null
} || true`

// asksForReset is a step: the device is asked for it, and restarts.
func asksForReset() boottest.Check {
	return boottest.Check{
		Name: "request", Asserts: "the device restarts", Bound: settle, Once: true, Vital: true, Needs: boottest.NeedConsole,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			restarts := s.Emulator.AllowRestart()
			// It may be gone before it has answered.
			if _, err := s.Run(ctx, "cubeos-factory-reset request"); errors.As(err, new(*remote.ExitError)) {
				return "", err
			}
			_, err := restarts.Wait(ctx)
			return "the kernel starts again", err
		},
	}
}

// resetEnds waits for the restart after the reset. The device then has other keys.
func resetEnds() boottest.Check {
	complete := regexp.MustCompile(`CUBEOS: factory reset complete`)
	return boottest.Check{
		Name: "ends", Asserts: "the next boot completes the reset, and the device restarts", Bound: firstBound, Once: true, Vital: true, Needs: boottest.NeedConsole,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			if _, err := s.Emulator.AllowRestart().Wait(ctx); err != nil {
				return "", err
			}
			s.Emulator.ForgetHostKey()
			line, _, err := firstLine(s, complete)
			if err == nil && line == "" {
				err = fmt.Errorf("the device has restarted, but the console has not shown %s", complete)
			}
			return line, err
		},
	}
}

// often gives a check less time between two looks.
func often(c boottest.Check) boottest.Check {
	c.Every = 200 * time.Millisecond
	c.Vital = true
	return c
}
