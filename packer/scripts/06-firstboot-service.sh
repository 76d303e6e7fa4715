#!/bin/bash
# Installs and enables the units of the boot scripts in /usr/local/lib/cubeos.
set -Eeuo pipefail
trap 'echo "06-firstboot-service.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export LC_ALL=C.UTF-8

lib=/usr/local/lib/cubeos
chmod 0755 "$lib"/*.sh
chmod 0644 "$lib/lib.sh"
for script in "$lib"/*.sh; do
  bash -n "$script"
done
for command in cubeos-factory-reset cubeos-network-mode; do
  ln -sfn "$lib/$command.sh" "/usr/local/sbin/$command"
done

for unit in "$lib"/systemd/*.*; do
  install -m 0644 "$unit" /etc/systemd/system/
  systemctl enable --quiet "${unit##*/}"
done
