#!/bin/bash
# What drives the interfaces: dhcpcd for the addresses, hostapd for the access
# point, iptables for the translation. Their configuration is in configs/rootfs.
set -Eeuo pipefail
trap 'echo "02-networking.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
# shellcheck source=lib.sh
. /tmp/cubeos-lib.sh

: "${CUBEOS_WIFI_COUNTRY:?}"

apt_install dhcpcd hostapd iptables iw wireless-regdb wpasupplicant

# The country has to be known before the driver asks for channels, which is
# earlier than any service of ours.
echo "options cfg80211 ieee80211_regdom=$CUBEOS_WIFI_COUNTRY" >/etc/modprobe.d/cubeos-wifi-country.conf

# dhcpcd owns the interfaces; two network managers would fight over them.
off NetworkManager.service NetworkManager-wait-online.service NetworkManager-dispatcher.service \
  systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
  systemd-resolved.service networking.service ifupdown-wait-online.service

# There HAL leaves the network mode that the API asks for, keys of WiFis included;
# cubeos-network-request.service reads it. Raspberry Pi OS has the real netplan,
# whose generator would give the interfaces to others than dhcpcd.
install -d -m 0700 /etc/netplan
install -d -m 0755 /etc/systemd/system-generators
ln -sfn /dev/null /etc/systemd/system-generators/netplan

# A hot-plugged second radio gets its wpa_supplicant by name; the catch-all one
# would take wlan0 away from hostapd.
systemctl disable --quiet wpa_supplicant.service
systemctl enable --quiet dhcpcd.service

# Debian masks hostapd until it is configured. The boot scripts start it when
# the radio is there and its configuration is written.
systemctl unmask --quiet hostapd.service
systemctl disable --quiet hostapd.service
