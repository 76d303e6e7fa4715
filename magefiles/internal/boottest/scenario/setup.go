package scenario

import (
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// setup is about the wizard as its own calls to the API go.
func setup(list services.List) []boottest.Scenario {
	return []boottest.Scenario{
		{
			Name: "setup-complete", About: "the wizard's call succeeds, and what it sets is in force at once and after a reboot",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "wizard", Checks: slices.Concat(
					[]boottest.Check{does("apply", applySetup)},
					setUp(), without(healthy(list), accessPoint().Name),
				)},
				{Name: "reboot", Checks: slices.Concat(
					[]boottest.Check{reboots(), sshAnswers(), initFinished("normal", bootBound)},
					setUp(), without(healthy(list), accessPoint().Name), []boottest.Check{noUnexplainedErrors()},
				)},
			},
		},
		{
			Name: "setup-cut", About: "a wizard that the power interrupts can be gone through again",
			From: boottest.Running,
			Phases: []boottest.Phase{{Name: "cut", Checks: slices.Concat(
				[]boottest.Check{
					does("apply", "systemd-run --quiet --unit=wizard sh -c '"+applySetup+"'\nuntil grep -qx nest /etc/hostname; do sleep 0.1; done; sync"),
					cutsPower(), sshAnswers(), initFinished("normal", bootBound),
					does("apply again", applySetup),
				},
				setUp(), without(healthy(list), accessPoint().Name),
			)}},
		},
		{
			Name: "setup-skip", About: "whoever skips the wizard has the documented passwords, and a device that stays as it is",
			From: boottest.Running,
			Phases: []boottest.Phase{{Name: "skip", Checks: slices.Concat(
				[]boottest.Check{
					does("skip", "curl -fsS --max-time 150 -X POST http://127.0.0.1:6010/api/v1/setup/skip"),
					matches("set-up", "the API says that it is complete", setupStatus, "true"),
					matches("Dashboard", "admin can log in with cubeos", logsInAtDashboard("cubeos"), `"access_token"`),
					matches("Pi-hole", "cubeos is its password", asksPihole("cubeos"), "true"),
					matches("Nginx Proxy Manager", "admin@cubeos.cube can log in with changeme", logsInAtProxy("changeme"), `"token"`),
				},
				healthy(list),
			)}},
		},
	}
}

// applySetup is the wizard's call, with all that a person can choose there.
const applySetup = `curl -fsS --max-time 150 -H "Content-Type: application/json" -d "{\"admin_username\":\"admin\",\"admin_password\":\"hen-house-7\",\"hostname\":\"nest\",\"device_name\":\"Nest\",\"wifi_ssid\":\"Nest\",\"wifi_password\":\"twelve-eggs\",\"wifi_channel\":11,\"country_code\":\"GR\",\"timezone\":\"Europe/Athens\"}" http://127.0.0.1:6010/api/v1/setup/apply`

const setupStatus = "curl -fsS --max-time 60 http://127.0.0.1:6010/api/v1/setup/status | jq .is_complete"

// setUp is what has to be true once that has succeeded. Pi-hole is made again with
// its new password a while later.
func setUp() []boottest.Check {
	return []boottest.Check{
		settles(says("WiFi name", "hostapd broadcasts the one that was chosen", "iw dev wlan0 info | sed -n 's/^[[:space:]]*ssid //p'", "Nest")),
		settles(says("host name", "it is the one that was chosen", "hostname", "nest")),
		says("time zone", "it is the one that was chosen", "readlink /etc/localtime", "/usr/share/zoneinfo/Europe/Athens"),
		settles(matches("Pi-hole's password", "it is the owner's", asksPihole("hen-house-7"), "true")),
		says("on record", "it is the one that works", "sed -n 's/^CUBEOS_PIHOLE_PASSWORD=//p' /cubeos/config/secrets.env", "hen-house-7"),
		says("set-up", "the API says that it is complete", setupStatus, "true"),
	}
}
