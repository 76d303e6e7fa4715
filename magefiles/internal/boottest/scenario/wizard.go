package scenario

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// wizard is about what the API, or HAL for it, does to the device's own settings
// when the set-up wizard or another page of the Dashboard asks for it.
func wizard() []boottest.Scenario {
	chosen := []boottest.Check{
		says("name", "hostapd broadcasts the WiFi name that was chosen", "iw dev wlan0 info | sed -n 's/^[[:space:]]*ssid //p'", "Nest"),
		says("ap.env", "it has what was chosen", "grep -E '^CUBEOS_(AP_|WIFI_COUNTRY)' /cubeos/config/ap.env",
			"CUBEOS_AP_SSID=Nest\nCUBEOS_AP_KEY=twelve-eggs\nCUBEOS_WIFI_COUNTRY=GR\nCUBEOS_AP_CHANNEL=11\nCUBEOS_AP_HIDDEN=0"),
		says("hostapd.conf", "it is of our making, and root's alone", "cd /etc/hostapd && stat -c %a hostapd.conf && grep -E '^(ctrl_interface|country_code|channel|wpa_pairwise)=' hostapd.conf",
			"600\nctrl_interface=/run/hostapd\ncountry_code=GR\nchannel=11"),
		says("hostapd", "it can be asked", "hostapd_cli -i wlan0 status | sed -n 's/^state=//p'", "ENABLED"),
		wlan0Address(),
		says("host name", "it is the one that was chosen, and can be resolved", "hostname; getent ahostsv4 nest | head -n 1 | cut -d ' ' -f 1", "nest\n127.0.1.1"),
		noFailedUnit(),
	}
	return []boottest.Scenario{
		{
			Name: "wizard-wifi", About: "the access point's settings and the host name of the wizard are in force, also after a reboot",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "wizard", Checks: slices.Concat(
					[]boottest.Check{
						does("the API's host name", "echo nest >/etc/hostname"),
						does("the API's hostapd.conf", apiWritesWiFi("Nest", "twelve-eggs", 11)+restartsHostapd),
					},
					chosen,
					[]boottest.Check{consoleShows("banner", `WiFi +Nest`)},
				)},
				{Name: "public pair", Checks: slices.Concat(
					[]boottest.Check{
						does("the API's hostapd.conf", apiWritesWiFi("CubeOS", "cubeos1234", 6)+restartsHostapd),
						matches("journal", "it says why that is not used", "journalctl -b -o cat -u hostapd.service -u cubeos-access-point.service", `WARNING: the WiFi name CubeOS with the key cubeos1234 is known to everybody`),
					},
					chosen,
				)},
				{Name: "reboot", Checks: slices.Concat(
					[]boottest.Check{reboots(), sshAnswers(), initFinished("normal", bootBound)},
					chosen, clientJoins(),
				)},
			},
		},
		{
			Name: "dashboard-network-mode", About: "a network mode is the same whether the Dashboard sets it or cubeos-network-mode does, and one that there is not changes nothing",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "ONLINE_WIFI", Checks: slices.Concat(
					sameEitherWay("ONLINE_WIFI", `. /cubeos/config/ap.env && echo "$CUBEOS_AP_KEY" | cubeos-network-mode ONLINE_WIFI "$CUBEOS_AP_SSID"`, "wlan1",
						`. /cubeos/config/ap.env
mode=wifi_bridge
yaml="  wifis:
    wlan1:
      dhcp4: true
      access-points:
        \"$CUBEOS_AP_SSID\":
          password: \"$CUBEOS_AP_KEY\""`),
					[]boottest.Check{wlan1Joins(), needing(boottest.NeedRadios, does("wlan1 leaves", "systemctl stop wpa_supplicant@wlan1.service && rm /etc/wpa_supplicant/wpa_supplicant-wlan1.conf"))},
				)},
				{Name: "ONLINE_ETH", Checks: slices.Concat(
					sameEitherWay("ONLINE_ETH", "cubeos-network-mode ONLINE_ETH", "eth0", "mode=wifi_router\n"+yamlByCable),
					clientJoins(),
					[]boottest.Check{routed(), leavesTranslated(9011)},
				)},
				{Name: "eth_client", Checks: []boottest.Check{
					does("the Dashboard ends the access point", "systemctl stop hostapd.service && ip address flush dev wlan0"),
					does("the Dashboard's eth_client", halSwitches("eth0", "mode=eth_client\n"+yamlByCable)),
					says("mode", "it stays as it is", "cubeos-network-mode", "ONLINE_ETH"),
					matches("journal", "it says why", "journalctl -b -o cat -u cubeos-network-request.service", `WARNING: the API asks for the network mode eth_client, which this device does not have`),
					accessPoint(), wlan0Address(),
				}},
				{Name: "reboot", Checks: []boottest.Check{
					reboots(), sshAnswers(), initFinished("normal", bootBound),
					says("saved mode", "it is in force", "cubeos-network-mode", "ONLINE_ETH"),
					says("the same", "it is what the command made", networkState+" | diff /var/tmp/ONLINE_ETH -", ""),
				}},
			},
		},
	}
}

// apiWritesWiFi is a command that writes hostapd.conf the way the API does for the
// wizard: in place, with what it knows of.
func apiWritesWiFi(ssid, key string, channel int) string {
	return fmt.Sprintf(`cat >/etc/hostapd/hostapd.conf <<'END'
# CubeOS WiFi Access Point Configuration
interface=wlan0
driver=nl80211
ssid=%s
hw_mode=g
channel=%d
country_code=GR
wmm_enabled=0
macaddr_acl=0
auth_algs=1
ignore_broadcast_ssid=0
wpa=2
wpa_passphrase=%s
wpa_key_mgmt=WPA-PSK
wpa_pairwise=TKIP
rsn_pairwise=CCMP
END
`, ssid, channel, key)
}

// restartsHostapd is what the API has HAL do then.
const restartsHostapd = "systemctl restart hostapd.service"

// networkState prints all that a network mode is made of.
const networkState = `{ { iptables-save; ip6tables-save; } | grep CUBEOS | sed -E 's/ \[[0-9:]+\]//'
sysctl net.ipv4.ip_forward
cubeos-network-mode
cat /cubeos/config/network.env /etc/wpa_supplicant/wpa_supplicant-wlan1.conf 2>/dev/null
systemctl show --property ActiveState --value hostapd.service wpa_supplicant@wlan1.service; }`

const yamlByCable = `yaml="  ethernets:
    eth0:
      dhcp4: true"`

// sameEitherWay sets a mode by a command, notes in /var/tmp what the network then
// is, and wants the same when HAL sets it for the Dashboard.
func sameEitherWay(mode, command, uplink, file string) []boottest.Check {
	return []boottest.Check{
		does("by command", command),
		does("noted", networkState+" >/var/tmp/"+mode),
		does("OFFLINE", "systemctl stop wpa_supplicant@wlan1.service && rm -f /etc/wpa_supplicant/wpa_supplicant-wlan1.conf && cubeos-network-mode OFFLINE"),
		does("by the Dashboard", halSwitches(uplink, file)),
		says("mode", "it is the one that was asked for", "cubeos-network-mode", mode),
		says("the same", "it is what the command made", networkState+" | diff /var/tmp/"+mode+" -", ""),
		says("HAL's rules", "none is left", "iptables -t nat -S POSTROUTING | grep -c -- '-s 10.42.24.0/24' || true", "0"),
	}
}

// halSwitches is a command that does what HAL does when the API changes the mode: it
// empties the chain of the translations, stops forwarding, writes netplan and
// applies it, forwards and translates by rules of its own, and does the first again
// at the end. What the file says is in the variables mode and yaml.
func halSwitches(uplink, file string) string {
	return strings.NewReplacer("UPLINK", uplink, "FILE", file).Replace(`set -e
FILE
apply() {
  cat >/etc/netplan/01-cubeos.yaml <<END
# CubeOS netplan — $mode mode
network:
  version: 2
$yaml
END
  nsenter -t 1 -m -n -- netplan apply
}
iptables -t nat -F POSTROUTING
echo 0 >/proc/sys/net/ipv4/ip_forward
apply
echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -t nat -A POSTROUTING -s 10.42.24.0/24 -o UPLINK -j MASQUERADE
apply`)
}
