package scenario

import (
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

func network(l services.List) []boottest.Scenario {
	return []boottest.Scenario{
		{
			Name: "network-modes", About: "a client joins the access point and reaches other networks as the mode says, and not otherwise",
			Core: true, From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "join", Checks: slices.Concat(
					clientJoins(), clientIsServed(l),
					[]boottest.Check{routed(), does("Docker's rules noted", dockersRules+" >/run/rules.docker")},
				)},
				{Name: "OFFLINE", Checks: []boottest.Check{mode("OFFLINE"), staysIn(9001), vxlanDropped(), noIPv6()}},
				{Name: "ONLINE_ETH", Checks: []boottest.Check{mode("ONLINE_ETH"), leavesTranslated(9002), sameAgain("ONLINE_ETH")}},
				{Name: "OFFLINE again", Checks: []boottest.Check{mode("OFFLINE"), staysIn(9003)}},
				{Name: "ONLINE_WIFI", Checks: []boottest.Check{mode("ONLINE_WIFI"), networkBehindWiFi(9004), answersByWiFi(9004)}},
				{Name: "off", Checks: []boottest.Check{
					mode("off"),
					says("our rules", "no chain of ours is left", "{ iptables-save; ip6tables-save; } | grep -c CUBEOS || true", "0"),
					says("Docker's rules", "they are what they were before", dockersRules+" | diff /run/rules.docker -", ""),
				}},
				{Name: "another key", Checks: wrongKeyIsRefused()},
			},
		},
		{
			Name: "saved-network-mode", About: "the mode that was set before a reboot is in force after it, and wlan1 joins the network it was given",
			From: boottest.Running,
			Phases: []boottest.Phase{{Name: "reboot", Checks: slices.Concat(
				[]boottest.Check{
					mode("ONLINE_ETH"), wlan1Configured(), reboots(), sshAnswers(), initFinished("normal", bootBound),
					says("saved mode", "it is in force", "cubeos-network-mode", "ONLINE_ETH"),
					wlan1Joins(), does("wlan1 leaves", "systemctl stop wpa_supplicant@wlan1.service"),
				},
				clientJoins(),
				[]boottest.Check{routed(), leavesTranslated(9005)},
			)}},
		},
		{
			Name: "no-wlan0", About: "without a radio everything but the access point works; one that comes later gets it without a reboot",
			Device: boottest.Device{NoRadio: true},
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: slices.Concat(
					[]boottest.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)},
					without(healthy(l), accessPoint().Name),
					[]boottest.Check{
						consoleShows("console", `CUBEOS: WARNING: no wlan0: there is no access point`),
						matches("journal", "it says why there is no access point", "journalctl -b -u cubeos-init.service -o cat", `WARNING: no wlan0`),
						consoleShows("banner", `WiFi +none: there is no wlan0`),
					},
				)},
				{Name: "wlan0 appears", Checks: slices.Concat(
					[]boottest.Check{does("radios", "modprobe mac80211_hwsim"), accessPoint(), wlan0Address(), consoleShows("banner", `WiFi +CubeOS-[0-9A-F]{6}`)},
					clientJoins(),
					clientIsServed(l),
				)},
				{Name: "wlan0 goes and comes", Checks: []boottest.Check{
					does("client gone", "systemctl stop client.service && ip netns delete client"),
					does("no radio", "modprobe -r mac80211_hwsim"),
					says("hostapd", "it ends with its interface", "systemctl is-active hostapd.service || true", "inactive"),
					does("radios", "modprobe mac80211_hwsim"),
					accessPoint(), wlan0Address(), noFailedUnit(),
				}},
			},
		},
		{
			Name: "no-network", About: "with no cable the first boot completes, and a cable needs no reboot",
			Device: boottest.Device{Unplugged: true},
			Phases: []boottest.Phase{
				{Name: "no cable", Checks: []boottest.Check{
					kernelStarts(),
					consoleShows("first boot", `CUBEOS: first boot complete after`),
					consoleShows("banner", `Cable +no address`),
				}},
				{Name: "cable in", Checks: slices.Concat(
					[]boottest.Check{plugs(true), sshAnswers(), initFinished("first", firstBound)},
					healthy(l), ownNames(),
					[]boottest.Check{
						says("nothing waited", "no unit that waits for a network has run",
							"systemctl list-units --plain --no-legend --state=active '*wait-online*' | wc -l", "0"),
						consoleShows("login prompt", `Cable +`+machine.GuestAddress),
					},
				)},
			},
		},
		{
			Name: "random-wifi-key", About: "with wifi_key = random the device makes a key nobody can guess, and shows it",
			Device: boottest.Device{Customise: randomKey},
			Phases: []boottest.Phase{{Name: "first boot", Checks: slices.Concat(
				[]boottest.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)},
				healthy(l),
				[]boottest.Check{
					consoleShows("banner", `WiFi key +`+randomKeyLooks),
					matches("ap.env", "it holds a key of that kind", "cat /cubeos/config/ap.env", `CUBEOS_AP_KEY=`+randomKeyLooks+`\b`),
					sameKeyEverywhere(),
				},
				clientJoins(),
			)}},
		},
	}
}

// randomKeyLooks is what a key looks like that the device has made: none of the
// characters that are taken for one another.
const randomKeyLooks = `([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}`

// randomKey stands for an image built with wifi_key = "random": that is one line
// of a file, which cloud-init changes before anything of ours reads it.
func randomKey(user card.Seed) []card.File {
	files := user.CloudInit()
	for i := range files {
		if files[i].Name == "user-data" {
			files[i].Content = append(files[i].Content, `bootcmd:
- [sed, -i, 's/^CUBEOS_WIFI_KEY_MODE=.*/CUBEOS_WIFI_KEY_MODE=random/', /cubeos/config/defaults.env]
`...)
		}
	}
	return files
}

func sameKeyEverywhere() boottest.Check {
	return says("one key", "the boot partition, hostapd and the login prompt have the key of ap.env",
		`. /cubeos/config/ap.env
for f in /boot/firmware/cubeos-wifi.txt /etc/hostapd/hostapd.conf /run/issue.d/cubeos.issue; do
  grep -cwF -- "$CUBEOS_AP_KEY" $f
done | xargs; stat -c %a /cubeos/config/ap.env`, "1 1 1\n600")
}

func wlan0Address() boottest.Check {
	return says("wlan0's address", "dhcpcd has given wlan0 its address", `ip -4 -o address show dev wlan0 | awk '{ print $4 }'`, cubeAddress+"/24")
}

func without(checks []boottest.Check, names ...string) []boottest.Check {
	return slices.DeleteFunc(checks, func(c boottest.Check) bool { return slices.Contains(names, c.Name) })
}
