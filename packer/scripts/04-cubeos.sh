#!/bin/bash
# Puts this build's values into the files configs/rootfs brought, gives them
# their modes and switches units on and off.
set -Eeuo pipefail
trap 'echo "04-cubeos.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export LC_ALL=C.UTF-8
# shellcheck source=lib.sh
. /tmp/cubeos-lib.sh

: "${CUBEOS_USER:?}" "${CUBEOS_WIFI_COUNTRY:?}" "${CUBEOS_WIFI_KEY_MODE:?}" "${CUBEOS_HOSTNAME:?}"
: "${CUBEOS_DEVICE_PASSWORDS:?}" "${CUBEOS_OPTIONAL_SERVICES?}"

usermod --append --groups docker "$CUBEOS_USER"

templates=(
  /cubeos/config/defaults.env
  /etc/cloud/cloud.cfg.d/99_zz-cubeos.cfg
  /etc/sudoers.d/010_cubeos
  /usr/local/share/cubeos/pihole/pihole.toml
  /usr/local/share/cubeos/pihole/dnsmasq.d/cubeos.conf
)
domain=$(sed -n 's/^CUBEOS_DOMAIN=//p' /cubeos/config/defaults.env)
address=$(sed -n 's/^CUBEOS_ADDRESS=//p' /cubeos/config/defaults.env)
groups=$(id -nG "$CUBEOS_USER")
sed -i \
  -e "s|@CUBEOS_GROUPS@|${groups// /, }|g" \
  -e "s|@CUBEOS_USER@|$CUBEOS_USER|g" \
  -e "s|@CUBEOS_WIFI_COUNTRY@|$CUBEOS_WIFI_COUNTRY|g" \
  -e "s|@CUBEOS_WIFI_KEY_MODE@|$CUBEOS_WIFI_KEY_MODE|g" \
  -e "s|@CUBEOS_DEVICE_PASSWORDS@|$CUBEOS_DEVICE_PASSWORDS|g" \
  -e "s|@CUBEOS_DOMAIN@|${domain:?}|g" \
  -e "s|@CUBEOS_ADDRESS@|${address:?}|g" \
  -e "s|@CUBEOS_HOSTNAME@|$CUBEOS_HOSTNAME|g" \
  "${templates[@]}"
if grep -En '@[A-Z_]+@' "${templates[@]}" >&2; then
  echo "04-cubeos.sh: the lines above still hold a placeholder" >&2
  exit 1
fi
# The one in /cubeos is changed on the device, and can get lost there.
install -m 0644 /cubeos/config/defaults.env /usr/local/share/cubeos/defaults.env

# The Raspberry Pi's kernel has the memory controller off, and without it Docker
# can not limit a container's memory. raspi-firmware makes cmdline.txt again with
# every kernel.
# Without "resize" Raspberry Pi OS's initramfs leaves the card alone.
# cubeos-grow-root.service grows it, and the disk id stays: changing it takes two
# files on two file systems, and a power cut in between leaves a card that does not
# find its root.
option=cgroup_enable=memory cmdline=/boot/firmware/cmdline.txt
sed -i -E -e 's/ resize( |$)/\1/' "$cmdline"
if ! grep -Eq "(^| )$option( |\$)" "$cmdline"; then
  sed -i -e "1s/[[:space:]]*\$/ $option/" "$cmdline"
fi
if [[ -e /etc/default/raspi-firmware ]] && ! grep -qsxF "$option" /etc/default/raspi-extra-cmdline; then
  echo "$option" >>/etc/default/raspi-extra-cmdline
fi

chmod 0440 /etc/sudoers.d/010_cubeos
visudo --check --quiet
chmod 0600 /etc/ssh/sshd_config.d/10-cubeos.conf
sshd -G >/dev/null
dockerd --validate --config-file=/etc/docker/daemon.json
fail2ban-client --test

install -d -m 0755 /cubeos /cubeos/apps /cubeos/coreapps /cubeos/data /cubeos/mounts
install -d -m 0750 -g "$CUBEOS_USER" /cubeos/config

# Services that this profile does not have leave nothing behind.
services=/usr/local/share/cubeos/services.json
jq --arg optional "$CUBEOS_OPTIONAL_SERVICES" '($optional | split(" ")) as $chosen
  | .services |= map(select((.optional | not) or (.name | IN($chosen[]))))' "$services" >"$services.partial"
mv "$services.partial" "$services"
chmod 0644 "$services"
names=$(jq --raw-output '.services[].name' "$services")
for app in /cubeos/coreapps/*; do
  if ! grep -qxF "${app##*/}" <<<"$names"; then
    rm -r "$app"
  fi
done
for name in $names; do
  app=/cubeos/coreapps/$name
  if [[ ! -s $app/appconfig/docker-compose.yml ]]; then
    echo "04-cubeos.sh: $services lists $name, but there is no $app/appconfig/docker-compose.yml" >&2
    exit 1
  fi
  install -d -m 0755 "$app" "$app/appconfig" "$app/appdata"
done
install -d -m 0755 /var/lib/cubeos /var/lib/cubeos/images

# rpi-swap makes a zram device of its own as /etc/rpi/swap.conf.d says; two
# configurations of one device would depend on which generator runs first.
if [[ -e /usr/lib/systemd/system-generators/rpi-swap-generator ]]; then
  rm -f /etc/systemd/zram-generator.conf
fi

# What Raspberry Pi OS and Debian do by themselves on first boot and we do
# otherwise: the user is made here, keys by cubeos-ssh-keys.service, and nobody
# reads manual pages or has LVM. A new bootloader is its owner's decision: the power
# may go at any time.
off userconfig.service regenerate_ssh_host_keys.service sshd-keygen.service \
  sshswitch.service wifi-country.service dphys-swapfile.service rpi-resize.service \
  rpi-eeprom-update.service man-db.timer e2scrub_all.timer
# It asks whoever logs in to wait for a user that userconfig.service would make.
rm -f /etc/ssh/sshd_config.d/rename_user.conf
# Names are Pi-hole's business, and nothing here uses Bluetooth.
on_demand avahi-daemon.service avahi-daemon.socket bluetooth.service
# It offers SSH over vsock, which a Pi does not have, and complains about that.
install -d -m 0755 /etc/systemd/system-generators
ln -sfn /dev/null /etc/systemd/system-generators/systemd-ssh-generator

systemctl enable --quiet ssh.service systemd-timesyncd.service
# cubeos-console@tty1.service is there instead; logind starts one on Alt+F2.
if unit_exists getty@.service; then
  systemctl disable --quiet getty@tty1.service
fi

# For ONLINE_WIFI: a second radio joins the network of its configuration as soon
# as both are there. Enabling the unit would wait for the radio at every boot.
wants=/etc/systemd/system/sys-subsystem-net-devices-wlan1.device.wants
install -d -m 0755 "$wants"
ln -sfn /usr/lib/systemd/system/wpa_supplicant@.service "$wants/wpa_supplicant@wlan1.service"
