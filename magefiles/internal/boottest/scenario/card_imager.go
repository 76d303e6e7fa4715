package scenario

import (
	"fmt"
	"regexp"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
)

// imagerPassword is "correct horse".
const imagerPassword = "$5$RaspberryPi$/HSpCtd2mr/0XzsSiWAcQe6omF6qpmUPgt8TQ7hofG8"

// fromImager is what Raspberry Pi Imager writes for init_format cloudinit-rpi when
// everything in its dialog is filled in. The locale is a person's own addition:
// Imager does not ask for it.
func fromImager(user card.Seed) []card.File {
	id := "rpi-imager-" + user.InstanceID
	return []card.File{
		{Name: "meta-data", Content: []byte("instance-id: " + id + "\n")},
		{Name: "cmdline.txt", Content: []byte(user.Cmdline + " cfg80211.ieee80211_regdom=DE ds=nocloud;i=" + id)},
		{Name: "network-config", Content: []byte(`network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp6: true
      optional: true
  wifis:
    wlan0:
      dhcp4: true
      regulatory-domain: "DE"
      access-points:
        "Home":
          password: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
      optional: true
`)},
		{Name: "user-data", Content: fmt.Appendf(nil, `#cloud-config
manage_resolv_conf: false

hostname: kitchen
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  preserve_sources_list: true
  conf: |
    Acquire {
      Check-Date "false";
    };
timezone: Europe/Berlin
keyboard:
  model: pc105
  layout: "de"
locale: de_DE.UTF-8
user:
  name: %[1]s
  shell: /bin/bash
  lock_passwd: false
  passwd: "%[2]s"
  ssh_authorized_keys:
    - "%[3]s"
  sudo: ALL=(ALL) NOPASSWD:ALL
ssh_pwauth: true
rpi:
  interfaces:
    i2c: true

runcmd:
  - [ systemctl, enable, --now, ssh ]
  - [ sh, -c, "echo '%[1]s ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/010_%[1]s-nopasswd" ]
  - [ chmod, '0440', '/etc/sudoers.d/010_%[1]s-nopasswd' ]
`, user.User, imagerPassword, trimmedKey(user))},
	}
}

func trimmedKey(user card.Seed) string {
	return regexp.MustCompile(`\s+$`).ReplaceAllString(user.AuthorizedKey, "")
}

// imagerSettings is what fromImager asks for, as the device shows it.
func imagerSettings() []boottest.Check {
	return []boottest.Check{
		settles(says("cloud-init", "it has been through all stages without an error", `jq -c '[.v1.stage, (.v1[] | objects | .errors[]?)]' /run/cloud-init/status.json`, "[null]")),
		says("host name", "it is the one given, and resolves without a network", `hostname; getent hosts kitchen | awk '{ print $1 }'`, "kitchen\n127.0.1.1"),
		says("time zone", "it is the one given", `timedatectl show -P Timezone`, "Europe/Berlin"),
		says("keyboard", "it is the one given", `. /etc/default/keyboard; echo "$XKBMODEL $XKBLAYOUT"`, "pc105 de"),
		says("locale", "it is the one given, and exists", `. /etc/default/locale; echo "$LANG"; locale -a | grep -c de_DE.utf8`, "de_DE.UTF-8\n1"),
		says("user", "the user given has the groups of the built-in one", `for group in sudo docker adm cubeos; do id -nG anna | grep -ow $group; done | xargs`, "sudo docker adm cubeos"),
		says("password", "the password given opens the console", `echo 'correct horse' | runuser -u nobody -- su anna -c 'id -un' 2>/dev/null`, "anna"),
		matches("SSH by password", "it stays refused, though it was asked for",
			`ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PreferredAuthentications=password,keyboard-interactive -o BatchMode=yes anna@127.0.0.1 true 2>&1 | tail -n 1`,
			`Permission denied \(publickey\)`),
		says("WiFi country", "the access point keeps the rules of the country given", `sed -n 's/^country_code=//p' /etc/hostapd/hostapd.conf; iw reg get | grep -om 1 'country DE'`, "DE\ncountry DE"),
		says("wlan0", "it has the address of an access point, and nothing joins another network",
			`ip -4 -o address show wlan0 | awk '{ print $4 }'; pgrep -c wpa_supplicant || true`, "10.42.24.1/24\n0"),
		consoleShows("WiFi network", `CUBEOS: WARNING: the WiFi network given in Raspberry Pi Imager is not used`),
		consoleShows("SSH by password, said", `CUBEOS: WARNING: SSH by password was asked for`),
	}
}

// restarting is what Raspberry Pi Imager from 2.0.11 on writes for a user with a
// key only, and a restart that its owner has added.
func restarting(user card.Seed) []card.File {
	return []card.File{
		{Name: "meta-data", Content: []byte("instance-id: " + user.InstanceID + "\n")},
		{Name: "user-data", Content: fmt.Appendf(nil, `#cloud-config
users:
- name: %s
  groups: users,adm,dialout,audio,netdev,video,plugdev,cdrom,games,input,gpio,spi,i2c,render,sudo
  shell: /bin/bash
  lock_passwd: true
  ssh_authorized_keys:
    - "%s"
  sudo: null
ssh_pwauth: false
power_state:
  mode: reboot
`, user.User, trimmedKey(user))},
	}
}

// brokenUserData has a tab where YAML has no tabs.
func brokenUserData(user card.Seed) []card.File {
	return []card.File{
		{Name: "meta-data", Content: []byte("instance-id: " + user.InstanceID + "\n")},
		{Name: "user-data", Content: []byte("#cloud-config\nhostname: kitchen\n\tusers: [\n")},
	}
}

// noUserData is a boot partition from which somebody has deleted the file.
func noUserData(user card.Seed) []card.File {
	return []card.File{
		{Name: "meta-data", Content: []byte("instance-id: " + user.InstanceID + "\n")},
		{Name: "user-data", Deleted: true},
	}
}
