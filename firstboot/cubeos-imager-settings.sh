#!/bin/bash
# What Raspberry Pi Imager writes to the boot partition is cloud-init's business.
# This takes over what cloud-init can not, and says what this device does not do.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

settings=$ROOT/run/cloud-init/combined-cloud-config.json
status=$ROOT/run/cloud-init/status.json

# Imager puts the country on the kernel's command line, but modprobe lets its own
# configuration win. What the access point does is in ap.env.
wifi_country() {
  local country conf=$ROOT/etc/modprobe.d/cubeos-wifi-country.conf line
  country=$(tr ' ' '\n' <"$ROOT/proc/cmdline" | sed -n 's/^cfg80211\.ieee80211_regdom=//p' | tail -n 1)
  line="options cfg80211 ieee80211_regdom=$country"
  if [[ $country =~ ^[A-Z]{2}$ ]]; then
    if ! cmp -s - "$conf" <<<"$line"; then
      write_file "$conf" 0644 <<<"$line"
    fi
    log "WiFi country: $country, as given in Raspberry Pi Imager"
  elif [[ -n $country ]]; then
    warn "the WiFi country '$country' on the kernel's command line is no country's code: it is not used"
  fi
}

# cloud-init leaves the password of a user that exists alone. One that somebody
# has set or locked since is left alone here, too.
passwords() {
  local name hash
  while IFS=$'\t' read -r name hash; do
    if [[ $(getent shadow "$name" | cut -d: -f2) =~ ^!?\*$ && $hash == \$* ]]; then
      usermod --password "$hash" "$name"
      log "$name can log in on the console with the password given in Raspberry Pi Imager"
    fi
  done < <(jq -r '.user, .users[]? | objects | select(.lock_passwd == false and .passwd) | [.name, .passwd] | @tsv' "$settings")
}

# Whoever Imager makes an administrator has the groups of the built-in one. With a
# key and no password nobody could answer sudo, and newer versions of Imager leave
# it open whether it has to be answered.
administrators() {
  local own name rules=
  own=$(id -un 1000)
  while IFS= read -r name; do
    if [[ $name == "$own" || ! " $(id -nG "$name" 2>/dev/null) " =~ ' sudo ' ]]; then
      continue
    fi
    usermod --append --groups "$(id -nG "$own" | tr ' ' ,)" "$name"
    if [[ $(getent shadow "$name" | cut -d: -f2) =~ ^[!*]*$ ]]; then
      rules+="$name ALL=(ALL:ALL) NOPASSWD: ALL"$'\n'
      log "$name has no password: sudo does not ask for one"
    fi
  done < <(jq -r '.user, .users[]? | objects | .name // empty' "$settings")
  if [[ $rules ]] && visudo --check --quiet --file=- <<<"$rules"; then
    write_file "$ROOT/etc/sudoers.d/011_cubeos-imager" 0440 <<<"$rules"
  fi
}

# The reason why user-data is of no use; nothing if it is.
broken_user_data() {
  python3 - "$BOOT_DIR/user-data" <<'PYTHON'
import sys, yaml
try:
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    content = yaml.safe_load(text)
    if not text.startswith("#"):
        print("its first line is not #cloud-config")
    elif text.startswith("#cloud-config") and not isinstance(content, (dict, type(None))):
        print("it has no settings, only text")
except Exception as problem:
    print(" ".join(str(problem).split()))
PYTHON
}

report() {
  local problem
  if [[ ! -f $BOOT_DIR/user-data ]]; then
    warn "there is no user-data on the boot partition: the device keeps its defaults"
  elif [[ -f $status ]] && jq -e '[.v1[]? | objects | .errors[]?, .recoverable_errors[]?[]?] | length > 0' "$status" >/dev/null; then
    problem=$(broken_user_data)
    if [[ -n $problem ]]; then
      warn "user-data on the boot partition can not be read, nothing of it is used: $problem"
    fi
  fi
  if [[ -f $BOOT_DIR/network-config ]] && grep -Eq '^[^#]*access-points:' "$BOOT_DIR/network-config"; then
    warn "the WiFi network given in Raspberry Pi Imager is not used: wlan0 is the access point of this device"
  fi
  if [[ -f $settings ]] && jq -e '.ssh_pwauth == true' "$settings" >/dev/null; then
    warn "SSH by password was asked for in Raspberry Pi Imager: this device lets only keys in"
  fi
  if [[ -z $(find "$ROOT/home" -mindepth 3 -maxdepth 3 -path '*/.ssh/authorized_keys' -size +0 2>/dev/null) ]]; then
    warn "no user has an SSH key: nobody can log in by SSH; flash the card again and give a key in Raspberry Pi Imager"
  fi
}

wifi_country
if [[ -f $settings ]]; then
  passwords
fi
if [[ ! -e $FIRST_BOOT_MARKER ]]; then
  if [[ -f $settings ]]; then
    administrators
  fi
  report
fi
