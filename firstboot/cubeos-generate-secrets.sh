#!/bin/bash
# Makes the secrets of this device in /cubeos/config/secrets.env. What is there
# stays; what is missing is added. The names are those the API reads, which
# writes here, too, when the owner sets other passwords.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

secrets=$CONFIG_DIR/secrets.env

random_hex() { head -c "$1" /dev/urandom | od -An -vtx1 | tr -d ' \n'; }

# add NAME VALUE
add() {
  content+="$1=$2"$'\n'
  log "made $1"
}

missing() { [[ $'\n'$content != *$'\n'"$1="[!$'\n']* ]]; }

export_env "$CONFIG_DIR/defaults.env"
install -d -m 0750 "$CONFIG_DIR"
content=
if [[ -f $secrets ]]; then
  content=$(<"$secrets")$'\n'
fi
if missing CUBEOS_NPM_EMAIL; then
  add CUBEOS_NPM_EMAIL "admin@${CUBEOS_DOMAIN:?}"
fi
for entry in CUBEOS_PIHOLE_PASSWORD:8 CUBEOS_NPM_PASSWORD:8 JWT_SECRET:32 CUBEOS_ENCRYPTION_KEY:32; do
  if missing "${entry%:*}"; then
    add "${entry%:*}" "$(random_hex "${entry#*:}")"
  fi
done
if ! cmp -s - "$secrets" <<<"${content%$'\n'}"; then
  printf '%s' "$content" | write_file "$secrets" 0600
fi
chmod 0600 "$secrets"
