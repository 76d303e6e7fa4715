package scenario

import (
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// recovery is what helps whoever stands before a device that nobody can log in to:
// the console, the diagnosis file and the message about a boot that takes too long.
func recovery() []boottest.Scenario {
	return []boottest.Scenario{
		{
			Name: "diagnosis", About: "the console shows the state and writes, at a key press, a diagnosis without secrets to the boot partition, also when Docker hangs",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "console", Checks: []boottest.Check{
					says("first screen", "the console is there, and a login prompt on the second", "systemctl is-active cubeos-console@tty1.service getty@tty1.service || true", "active\ninactive"),
					settles(screenShows("state", `Service +cubeos-api answers`)),
					screenShows("keys", `5 log in`),
					does("on the serial line, too", "systemctl start cubeos-console@ttyAMA0.service"),
					presses("no key", "", `5 log in`),
				}},
				{Name: "diagnosis", Checks: slices.Concat(
					[]boottest.Check{
						does("secrets in the log", toBeMasked),
						presses("key 2", "2", `cubeos-diagnosis\.txt is on the boot partition`),
					},
					diagnosed(),
					[]boottest.Check{
						says("boot partition", "the file is there", "findmnt --noheadings --output FSTYPE --target "+diagnosisFile, "vfat"),
						matches("logs", "it has those of the boot", "cat "+diagnosisFile, `CUBEOS: stage swarm: done in`),
						matches("what was said", "it is there without the secrets", "cat "+diagnosisFile, `said: \*\*\* \*\*\* \*\*\*`),
						matches("containers", "it has their logs", "cat "+diagnosisFile, `(?m)^==== docker logs .* cubeos-npm$`),
						matches("state", "it has that", "cat "+diagnosisFile, `(?m)^Service +pihole answers$`),
						presses("any key", " ", `5 log in`),
					},
				)},
				{Name: "Docker hangs", Checks: slices.Concat(
					[]boottest.Check{
						does("Docker hangs", "systemctl stop cubeos-watchdog.timer && rm "+diagnosisFile+" && kill -STOP $(pidof dockerd)"),
						presses("key 2", "2", `cubeos-diagnosis\.txt is on the boot partition`),
						does("Docker goes on", "kill -CONT $(pidof dockerd) && systemctl start cubeos-watchdog.timer"),
					},
					diagnosed(),
					[]boottest.Check{presses("any key", " ", `5 log in`)},
				)},
				{Name: "other keys", Checks: []boottest.Check{
					presses("factory reset", "4", `type the word RESET`),
					presses("another word", "no\r", `5 log in`),
					does("a mode", "cubeos-network-mode ONLINE_ETH"),
					presses("key 3", "3", `access point CubeOS-`),
					says("mode", "it is OFFLINE", "cubeos-network-mode", "OFFLINE"),
					accessPoint(),
					presses("any key", " ", `5 log in`),
					presses("log in", "5", `login:`),
					does("the serial line as before", "systemctl stop cubeos-console@ttyAMA0.service && systemctl start serial-getty@ttyAMA0.service"),
					noFailedUnit(),
				}},
				{Name: "restart", Checks: []boottest.Check{
					does("on the serial line again", "systemctl start cubeos-console@ttyAMA0.service"),
					presses("no key", "", `5 log in`),
					presses("key 1", "1", `^Done\.`),
					initFinished("normal", bootBound),
					systemRunning(),
				}},
			},
		},
		{
			Name: "stalled-boot", About: "a boot that takes too long is reported on the consoles, at the login prompt and in the journal, with its stage, until it is over",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "stalled", Checks: []boottest.Check{
					does("a minute is too long", limitsBoot),
					// The stage waits for whoever else changes the mode.
					does("a stage hangs", "systemd-run --quiet --unit=holder flock /run/cubeos/network-mode.lock sleep infinity && systemctl restart --no-block cubeos-init.service"),
					settles(matches("journal", "it says so, and again", "journalctl -b -o cat -u cubeos-stalled-boot.service",
						`(?s)WARNING: the boot is not complete after \d+ (s|min): stage network-mode for .*WARNING: the boot is not complete`)),
					consoleShows("serial console", `WARNING: the boot is not complete after \d+ (s|min): stage network-mode for \d+`),
					screenShows("screen", `Problem +the boot is not complete after`),
					matches("login prompt", "it says so", "cat /run/issue.d/cubeos.issue", `normal boot not yet complete: stage network-mode for \d+`),
				}},
				{Name: "over", Checks: []boottest.Check{
					does("it goes on", "systemctl stop holder.service"),
					initFinished("normal", bootBound),
					settles(matches("journal", "it says that it is over", "journalctl -b -o cat -u cubeos-stalled-boot.service", `the boot that took too long is over: cubeos-init is active`)),
					settles(says("timer", "it has ended", "systemctl is-active cubeos-stalled-boot.timer || true", "inactive")),
					settles(matches("login prompt", "it says no more of it", "cat /run/issue.d/cubeos.issue", `normal boot complete\n`)),
					noFailedUnit(),
				}},
			},
		},
	}
}

const diagnosisFile = "/boot/firmware/cubeos-diagnosis.txt"

// toBeMasked has a unit of ours log three secrets.
const toBeMasked = `. /cubeos/config/secrets.env && . /cubeos/config/ap.env
systemd-run --quiet --wait --unit=cubeos-says echo "said: $HAL_CORE_KEY $CUBEOS_AP_KEY eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl"`

const limitsBoot = `mkdir -p /run/systemd/system/cubeos-stalled-boot.service.d
printf '[Service]\nEnvironment=CUBEOS_BOOT_LIMIT=60\n' >/run/systemd/system/cubeos-stalled-boot.service.d/limit.conf
systemctl daemon-reload`

// screenShows asserts that a line is on the screen, which no emulator here has.
func screenShows(name, expression string) boottest.Check {
	return matches(name, "it is on the screen", "fold -w 80 /dev/vcs1", expression)
}

// diagnosed is what has to be true of a diagnosis file.
func diagnosed() []boottest.Check {
	return []boottest.Check{
		says("complete", "the file has its end", "tail -n 1 "+diagnosisFile, "==== end of the diagnosis"),
		matches("size", "it is at most 2 MiB", "[ $(stat -c %s "+diagnosisFile+") -le 2097152 ] && stat -c %s "+diagnosisFile, `^\d{5,}$`),
		says("no secrets", "no secret of the device is in it", `{
  cat /cubeos/config/secrets.env /cubeos/config/.secrets.env.good /etc/hostapd/hostapd.conf | sed -n -E 's/^([A-Z_]+|wpa_passphrase)=//p'
  sed -n 's/^CUBEOS_AP_KEY=//p' /cubeos/config/ap.env
  grep -oE '[0-9a-f]{32,}' /cubeos/coreapps/cubeos-hal/appdata/acl.json
  echo eyJhbGciOiJIUzI1NiJ9
} | grep -vxE 'cubeos|changeme|admin@cubeos\.cube' | sort -u >/run/secrets && wc -l </run/secrets && grep -cFf /run/secrets `+diagnosisFile+` || true`, "6\n0"),
	}
}
