#!/bin/bash
# Makes hostapd.conf from the access point's settings in /cubeos/config/ap.env. One
# that somebody else has written, as the API does for the set-up wizard, asks for
# other settings: they go into ap.env, and the file is made again from there. Each
# start of hostapd begins with this; a power cut in between is made up for then.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

ap=$CONFIG_DIR/ap.env
conf=$ROOT/etc/hostapd/hostapd.conf
written=$STATE_DIR/hostapd.conf.written # what we have written there
template=$ROOT/usr/local/share/cubeos/hostapd.conf.in
note=$ROOT/boot/firmware/cubeos-wifi.txt

# What else may be asked for: variable, name in hostapd.conf, expression.
optional='CUBEOS_WIFI_COUNTRY country_code ^[A-Z]{2}$
CUBEOS_AP_CHANNEL channel ^([1-9]|1[0-3])$
CUBEOS_AP_HIDDEN ignore_broadcast_ssid ^[01]$'

# setting NAME: what hostapd.conf has for it.
setting() { sed -n "s/^$1=//p" "$conf" | tail -n 1; }

# render: hostapd.conf as ap.env wants it. What is filled in is never looked
# through for placeholders: a WiFi may be called @KEY@.
render() (
  export_config
  SSID=${CUBEOS_AP_SSID:?} KEY=${CUBEOS_AP_KEY:?} COUNTRY=${CUBEOS_WIFI_COUNTRY:?} \
    CHANNEL=${CUBEOS_AP_CHANNEL:-6} HIDDEN=${CUBEOS_AP_HIDDEN:-0} awk '{
      while (match($0, /@[A-Z]+@/)) {
        printf "%s%s", substr($0, 1, RSTART - 1), ENVIRON[substr($0, RSTART + 1, RLENGTH - 2)]
        $0 = substr($0, RSTART + RLENGTH)
      }
      print
    }' "$template"
)

# take_over: what hostapd.conf asks for becomes ap.env's.
take_over() {
  local ssid key variable name expression value changes names
  ssid=$(setting ssid)
  key=$(setting wpa_passphrase)
  # One that was cut off while it was written may end within the key.
  if [[ $(tail -c 1 "$conf") ]] || ! wifi_name_valid "$ssid" || ! wifi_key_valid "$key"; then
    warn "hostapd.conf was written by somebody else and lacks a valid name and key: the access point stays as it is"
    return
  fi
  # The Dashboard sends these without asking, where its wizard has no page for
  # WiFi. Devices that are all called so would all have the one key.
  if [[ $ssid == CubeOS && $key == cubeos1234 ]]; then
    warn "the WiFi name CubeOS with the key cubeos1234 is known to everybody and not used: the access point stays as it is"
    return
  fi
  changes=("CUBEOS_AP_SSID=$ssid" "CUBEOS_AP_KEY=$key")
  while read -r variable name expression; do
    value=$(setting "$name")
    if [[ $value =~ $expression ]]; then
      changes+=("$variable=$value")
    elif [[ $value ]]; then
      warn "hostapd.conf asks for $name=$value, which this access point can not do: that stays as it is"
    fi
  done <<<"$optional"
  names=$(IFS='|' && echo "${changes[*]%%=*}")
  {
    sed -E "/^($names)=/d" "$ap"
    printf '%s\n' "${changes[@]}"
  } | write_file "$ap" 0600
  log "access point: $ssid, as hostapd.conf asks for"
}

# forget_note: the boot partition keeps no key that is not the access point's.
forget_note() (
  export_config
  if [[ -e $note ]] && ! wifi_note "$CUBEOS_AP_SSID" "$CUBEOS_AP_KEY" | cmp -s - "$note"; then
    rm -f "$note" && sync "${note%/*}"
  fi
)

install -d -m 0755 "$RUN_DIR" "${conf%/*}"
exec 8>"$RUN_DIR/wifi-settings.lock"
flock 8
"$LIB_DIR/cubeos-generate-ap-creds.sh"

content=$(render)
if [[ -e $conf ]] && ! cmp -s - "$conf" <<<"$content" && ! cmp -s "$written" "$conf"; then
  take_over
  content=$(render)
fi
# In this order: were the copy first, a power cut would make what is in
# hostapd.conf from before look like somebody's request.
for file in "$conf" "$written"; do
  if ! cmp -s - "$file" <<<"$content"; then
    write_file "$file" 0600 <<<"$content"
  fi
done
forget_note || warn "cubeos-wifi.txt on the boot partition names another key than the access point's and can not be removed"
