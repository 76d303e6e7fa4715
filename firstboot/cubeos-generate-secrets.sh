#!/bin/bash
# Makes the secrets of this device in /cubeos/config/secrets.env. What is there
# stays; what is missing is added.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

secrets=$CONFIG_DIR/secrets.env

random_hex() { head -c "$1" /dev/urandom | od -An -vtx1 | tr -d ' \n'; }

install -d -m 0750 "$CONFIG_DIR"
content=
if [[ -f $secrets ]]; then
  content=$(<"$secrets")$'\n'
fi
for entry in PIHOLE_PASSWORD:8 NPM_PASSWORD:8 CUBEOS_JWT_SECRET:32 CUBEOS_ENCRYPTION_KEY:32; do
  if ! grep -Eq "^${entry%:*}=.+" <<<"$content"; then
    content+="${entry%:*}=$(random_hex "${entry#*:}")"$'\n'
    log "made ${entry%:*}"
  fi
done
if ! cmp -s - "$secrets" <<<"${content%$'\n'}"; then
  printf '%s' "$content" | write_file "$secrets" 0600
fi
chmod 0600 "$secrets"
