#!/bin/bash
# Makes the secrets of this device in /cubeos/config/secrets.env. What is there
# stays; what is missing comes from the last good copy or is made. The names are
# those the API reads, which writes here, too, when the owner sets other passwords,
# and in place: a power cut can then leave an empty file.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

secrets=$CONFIG_DIR/secrets.env
good=$CONFIG_DIR/.secrets.env.good
acl=$COREAPPS_DIR/cubeos-hal/appdata/acl.json

random_hex() { head -c "$1" /dev/urandom | od -An -vtx1 | tr -d ' \n'; }

# value NAME TEXT: what a line of TEXT says NAME is.
value() {
  local line=$'\n'"$1="$'([^\n]+)'
  [[ $'\n'$2 =~ $line ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# need NAME COMMAND…: a secret that is missing is what the command prints.
need() {
  local name=$1 value
  shift
  if ! value "$name" "$content" >/dev/null; then
    value=$("$@")
    [[ $value ]] || die "no $name could be made"
    content+="$name=$value"$'\n'
    log "made $name"
  fi
}

first_password() {
  local password=changeme
  if [[ $random ]]; then
    password=$(random_key)
    # First there, then in secrets.env: the other way a power cut could lose it.
    printf 'Password of Pi-hole, of %s in Nginx Proxy Manager and, once set-up is complete, of admin in the Dashboard:\r\n%s\r\n' "$npm_email" "$password" \
      | to_boot_partition cubeos-passwords.txt \
      || warn "the password could not be written to the boot partition; the console shows it"
  fi
  printf '%s' "$password"
}

pihole_password() { if [[ $random ]]; then value NPM_INITIAL_PASSWORD "$content"; else echo cubeos; fi; }

# save FILE TEXT
save() { cmp -s - "$1" <<<"${2%$'\n'}" || write_file "$1" 0600 <<<"${2%$'\n'}"; }

export_defaults
case ${CUBEOS_DEVICE_PASSWORDS:-documented} in
  documented) random= ;;
  random) random=yes ;;
  *) die "CUBEOS_DEVICE_PASSWORDS is '$CUBEOS_DEVICE_PASSWORDS': it must be documented or random" ;;
esac
# The API looks for it by this name, whatever the domain is.
npm_email=admin@cubeos.cube

install -d -m 0750 "$CONFIG_DIR"
install -d -m 0755 "${acl%/*}"
content=
if [[ -s $secrets ]]; then
  content=$(sed '/^[A-Z0-9_]*=$/d' "$secrets")$'\n'
fi
lost=$(lost_settings "$secrets" "$good")
if [[ $lost ]]; then
  warn "secrets.env had lost $(cut -d = -f 1 <<<"$lost" | xargs): as they were before"
  content+=$lost$'\n'
fi

# Nginx Proxy Manager is told its first password with every start. Kept apart from
# the one in force, it is no reason to make the container again.
need NPM_INITIAL_PASSWORD first_password
need CUBEOS_NPM_EMAIL echo "$npm_email"
need CUBEOS_NPM_PASSWORD value NPM_INITIAL_PASSWORD "$content"
need CUBEOS_PIHOLE_PASSWORD pihole_password
need NPM_API_PASSWORD random_hex 16
need JWT_SECRET random_hex 32
need CUBEOS_ENCRYPTION_KEY random_hex 32
need HAL_CORE_KEY random_hex 32

# What the API logs in to Pi-hole with follows the owner's password.
password=$(value CUBEOS_PIHOLE_PASSWORD "$content")
if [[ $(value PIHOLE_PASSWORD "$content") != "$password" ]]; then
  content=$(sed '/^PIHOLE_PASSWORD=/d' <<<"${content%$'\n'}")$'\n'PIHOLE_PASSWORD=$password$'\n'
fi

save "$secrets" "$content"
chmod 0600 "$secrets"
save "$good" "$content"
# Without it HAL would do what anybody asks.
save "$acl" "{\"keys\": {\"$(value HAL_CORE_KEY "$content")\": \"core\"}}"

export_env "$secrets"
if ! device_password >/dev/null && [[ -e $BOOT_DIR/cubeos-passwords.txt ]]; then
  rm -f "$BOOT_DIR/cubeos-passwords.txt" || warn "cubeos-passwords.txt stays on the boot partition, though its password is no longer in force"
fi
