#!/bin/bash
# What the provisioning scripts share; sourced, never run. The recipe's first
# provisioner puts it where they find it, the last script takes it away.
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
