#!/bin/bash
# Makes this device's SSH host keys where there are none. A key that the power
# cut off half-written is no key: sshd would refuse to start with it.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# RSA takes long to make and no client of this decade needs it.
for type in ed25519 ecdsa; do
  key=$ROOT/etc/ssh/ssh_host_${type}_key
  if [[ -s $key.pub ]] && ssh-keygen -y -P '' -f "$key" >/dev/null 2>&1; then
    continue
  fi
  rm -f "$key" "$key.pub" "$key.new" "$key.new.pub"
  ssh-keygen -q -t "$type" -N '' -C '' -f "$key.new"
  sync "$key.new" "$key.new.pub"
  mv "$key.new.pub" "$key.pub"
  mv "$key.new" "$key"
  log "made the $type host key: $(ssh-keygen -l -f "$key.pub")"
done
sync "$ROOT/etc/ssh"
