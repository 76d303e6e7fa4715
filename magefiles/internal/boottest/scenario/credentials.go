package scenario

import (
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// credentials is about the first passwords, as the table in docs/device.md has
// them: somebody logs in with every row of it.
func credentials(l services.List) []boottest.Scenario {
	const firstPassword = `password=$(sed -n 's/^NPM_INITIAL_PASSWORD=//p' /cubeos/config/secrets.env); `
	return []boottest.Scenario{
		{
			Name: "documented-credentials", About: "the documented names and passwords open what the documentation says, on a device that was just flashed",
			Harmless: true, From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "log-ins", Checks: []boottest.Check{
					matches("Dashboard", "admin can log in with cubeos", logsInAtDashboard("cubeos"), `"access_token"`),
					matches("Pi-hole", "cubeos is its password", asksPihole("cubeos"), "^true$"),
					matches("Nginx Proxy Manager", "admin@cubeos.cube can log in with changeme", logsInAtProxy("changeme"), `"token"`),
					matches("WiFi key", "it is the one that the name tells", `. /cubeos/config/ap.env && echo "$CUBEOS_AP_SSID $CUBEOS_AP_KEY" | awk '{ print tolower($1) == tolower($2) ? "same digits" : "others: " $0 }'`, "^same digits$"),
					failuresOfOurs(), keyOpens(),
				}},
				{Name: "WiFi", Checks: slices.Concat(clientJoins(), []boottest.Check{leased()})},
			},
		},
		{
			Name: "random-credentials", About: "with device_passwords = random every first password is the device's own, and the documented ones open nothing",
			Device: boottest.Device{Customise: randomPasswords},
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: slices.Concat(
					[]boottest.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)},
					healthy(l),
					[]boottest.Check{
						matches("boot partition", "cubeos-passwords.txt has the password", "cat /boot/firmware/cubeos-passwords.txt", randomKeyLooks),
						says("shown", "console and boot partition show the one that is on record",
							firstPassword+`grep -cwF -- "$password" /boot/firmware/cubeos-passwords.txt; grep -lF -- "$password" /run/issue.d/*`, "1\n/run/issue.d/cubeos.issue"),
						matches("Pi-hole", "it is its password", firstPassword+asksPihole(`'"$password"'`), "^true$"),
						matches("Pi-hole's documented password", "it opens nothing", asksPihole("cubeos"), "^false$"),
						matches("Nginx Proxy Manager", "admin@cubeos.cube can log in with it", firstPassword+logsInAtProxy(`'"$password"'`), `"token"`),
						matches("Nginx Proxy Manager's documented password", "it opens nothing", logsInAtProxy("changeme"), `"error"`),
					},
				)},
				{Name: "set-up skipped", Checks: []boottest.Check{
					does("skip", "curl -fsS --max-time 150 -X POST http://127.0.0.1:6010/api/v1/setup/skip"),
					settles(matches("Dashboard", "admin can log in with the device's password", firstPassword+logsInAtDashboard(`'"$password"'`), `"access_token"`)),
					says("Dashboard's documented password", "it opens nothing", logsInAtDashboard("cubeos")+" -o /dev/null -w '%{http_code}'", "401"),
				}},
				{Name: "reboot", Checks: []boottest.Check{
					reboots(), sshAnswers(), initFinished("normal", bootBound),
					matches("Dashboard", "the password is still the same", firstPassword+logsInAtDashboard(`'"$password"'`), `"access_token"`),
					matches("Pi-hole", "the password is still the same", firstPassword+asksPihole(`'"$password"'`), "^true$"),
				}},
			},
		},
	}
}

// randomPasswords stands for an image built with device_passwords = "random": that
// is one line of a file, which cloud-init changes before anything of ours reads it.
func randomPasswords(user card.Seed) []card.File {
	return atBoot("sed -i 's/^CUBEOS_DEVICE_PASSWORDS=.*/CUBEOS_DEVICE_PASSWORDS=random/' /cubeos/config/defaults.env /usr/local/share/cubeos/defaults.env")(user)
}

const postsJSON = `curl -sS --max-time 60 -H 'Content-Type: application/json' -d `

// logsInAtDashboard is a command that logs admin in the way that the page does:
// through the Dashboard's own web server.
func logsInAtDashboard(password string) string {
	return postsJSON + `'{"username":"admin","password":"` + password + `"}' http://127.0.0.1:6011/api/v1/auth/login`
}

func logsInAtProxy(password string) string {
	return postsJSON + `'{"identity":"admin@cubeos.cube","secret":"` + password + `"}' http://127.0.0.1:81/api/tokens`
}

func asksPihole(password string) string {
	return postsJSON + `'{"password":"` + password + `"}' http://127.0.0.1:6001/api/auth | jq .session.valid`
}
