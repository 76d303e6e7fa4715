#!/bin/bash
# Puts in force the host name that somebody has written to /etc/hostname, as the API
# does, and sees that it can be resolved without a network. cloud-init writes the name
# it was given first into /etc/hosts at each boot.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

file=$ROOT/etc/hostname
hosts=$ROOT/etc/hosts
kernel=$ROOT/proc/sys/kernel/hostname

name=$(head -n 1 "$file")
if [[ ! $name =~ ^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$ ]]; then
  warn "'$name' in /etc/hostname is no host name (a-z, 0-9 and -, at most 63): this device is still called $(<"$kernel")"
  exit 0
fi
if ! grep -Eq "^127\.0\.1\.1[[:space:]](.*[[:space:]])?$name([[:space:]]|\$)" "$hosts"; then
  {
    awk '$1 != "127.0.1.1"' "$hosts"
    echo "127.0.1.1 $name"
  } | write_file "$hosts" 0644
fi
if [[ $(<"$kernel") != "$name" ]]; then
  sync "$file"
  echo "$name" >"$kernel"
  if systemctl is-active --quiet avahi-daemon.service; then
    systemctl restart avahi-daemon.service || warn "avahi-daemon still tells the network the old name"
  fi
  log "host name: $name"
fi
