#!/bin/bash
# What the provisioning scripts and the bootstrap of a base image share; sourced,
# never run. The recipe's first provisioner puts it where they find it, the last
# script takes it away.
# The functions return instead of failing, so that a script's trap names the
# script's line, not one in here.
set -Eeuo pipefail

# apt_install PACKAGE…: nobody is there to be asked, and a build that is cut off
# is thrown away, so nothing has to be synced.
apt_install() {
  if ! apt-get install -y -q --no-install-recommends \
    -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef \
    -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Use-Pty=0 "$@"; then
    echo "apt-get could not install $*" >&2
    return 1
  fi
}

unit_exists() { [[ -e /usr/lib/systemd/system/$1 || -e /etc/systemd/system/$1 ]]; }

# off UNIT…: never runs them; those that only another base image has are no error.
off() {
  local unit
  for unit in "$@"; do
    if unit_exists "$unit"; then
      systemctl disable --quiet "$unit" || return
      systemctl mask --quiet "$unit" || return
    fi
  done
}

# on_demand UNIT…: does not start by itself, but whoever wants it can start it.
on_demand() {
  local unit
  for unit in "$@"; do
    if unit_exists "$unit"; then
      systemctl disable --quiet "$unit" || return
    fi
  done
}

# update_initramfs yes|no: whether packages make the initramfs again.
update_initramfs() {
  sed -i "s/^update_initramfs=.*/update_initramfs=$1/" /etc/initramfs-tools/update-initramfs.conf
}

# In a chroot mkinitramfs can not ask the root partition for its file system, and
# without knowing it leaves out fsck: a damaged one would never be repaired.
fsck_in_initramfs() {
  install -d /etc/initramfs-tools/conf.d || return
  echo FSTYPE=ext4 >/etc/initramfs-tools/conf.d/root-file-system
}

# Every device has to make its own host keys. openssh-server makes them when it is
# installed but leaves alone what is there: empty ones save the time.
host_key_placeholders() {
  local type
  install -d /etc/ssh || return
  for type in rsa ecdsa ed25519; do
    if [[ ! -e /etc/ssh/ssh_host_${type}_key ]]; then
      : >"/etc/ssh/ssh_host_${type}_key" || return
    fi
  done
}

# forget_build: identity, package lists, and what would differ the next time, such
# as numbers of inodes and the day on which an account was made; without that day
# a password has no age. An empty machine-id is filled in at boot; "uninitialized"
# would make systemd think it is its own first boot and apply its presets over our
# units.
forget_build() {
  apt-get clean || return
  # Their times tell whether packages had to be fetched.
  touch /var/cache/apt/archives /var/cache/apt/archives/partial || return
  : >/etc/machine-id || return
  rm -rf /var/lib/apt/lists/* /var/lib/dbus/machine-id /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub \
    /var/cache/ldconfig/aux-cache /etc/{passwd,group,shadow,gshadow,subuid,subgid}- || return
  sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\1::/' /etc/shadow
}
