#!/bin/bash
# Takes out what must not be in every device alike, and what only the build needed,
# and keeps what a factory reset puts back.
set -Eeuo pipefail
trap 'echo "07-cleanup.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export LC_ALL=C.UTF-8
# shellcheck source=lib.sh
. /tmp/cubeos-lib.sh

: "${CUBEOS_VERSION:?}" "${CUBEOS_PROFILE:?}"

forget_build
rm -rf /var/cache/apt/*.bin /var/cache/debconf/*-old /var/lib/dpkg/*-old \
  /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /etc/hostapd/hostapd.conf \
  /var/lib/dhcpcd/* /var/lib/NetworkManager/* /var/lib/cloud/* /var/lib/docker/* \
  /var/lib/containerd/* /etc/docker/key.json

find /var/log -type f -delete
rm -rf /var/log/journal /root/.bash_history /root/.cache /root/.gnupg
find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -name 'script_*.sh' -exec rm -rf {} +

# The device's resolver is dhcpcd's business. Its unit can not start without
# this file, and the one that is here now may name the build machine's.
if ! mountpoint --quiet /etc/resolv.conf; then
  rm -f /etc/resolv.conf
  : >/etc/resolv.conf
fi

# What kept packages from starting services here would do so on the device.
rm -f /usr/sbin/policy-rc.d

{
  echo "CUBEOS_VERSION=$CUBEOS_VERSION"
  echo "CUBEOS_PROFILE=$CUBEOS_PROFILE"
} >/etc/cubeos-release

# A Pi has no clock of its own. systemd sets one that is behind to this file's
# time, which is this build's.
touch /usr/lib/clock-epoch

# What a factory reset goes by: all that is above has been done.
/usr/local/lib/cubeos/cubeos-factory-reset.sh pack

# The packages' own scripts have done what systemd would do again at first boot
# because /usr is newer than these.
touch -r /usr /etc/.updated /var/.updated
