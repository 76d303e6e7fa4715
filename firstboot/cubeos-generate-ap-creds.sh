#!/bin/bash
# Makes the access point's name and key in /cubeos/config/ap.env. A file that has
# both stays as it is. The name is made from wlan0's MAC address, and so is the
# key, unless CUBEOS_WIFI_KEY_MODE is random: nobody can guess that one, so it is
# also written to the boot partition, which any computer can read.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

ap=$CONFIG_DIR/ap.env
address=$ROOT/sys/class/net/wlan0/address

# What Raspberry Pi Imager was told is on the kernel's command line or, if it was
# told of a WiFi network as well, beside that.
imager_country() {
  local file
  for file in "$ROOT/proc/cmdline" "$BOOT_DIR/network-config"; do
    if [[ -r $file ]]; then
      sed -nE '/^[^#]*(cfg80211\.ieee80211_regdom=|regulatory-domain:[[:space:]]*"?)([A-Z]{2})([^A-Za-z].*)?$/ { s//\2/p; q }' "$file"
    fi
  done
}

(
  unset CUBEOS_AP_SSID CUBEOS_AP_KEY
  export_env "$ap"
  wifi_name_valid "${CUBEOS_AP_SSID:-}" && wifi_key_valid "${CUBEOS_AP_KEY:-}"
) && exit 0
[[ -r $address ]] || die "no wlan0: the access point's name and key are made from its MAC address"
mac=$(<"$address")
[[ $mac =~ ^([0-9A-Fa-f]{2}:){3}([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})$ ]] \
  || die "wlan0 has no usable MAC address: '$mac'"
suffix=${BASH_REMATCH[2]}${BASH_REMATCH[3]}${BASH_REMATCH[4]}
suffix=${suffix^^}
ssid=CubeOS-$suffix

export_defaults
case ${CUBEOS_WIFI_KEY_MODE:-mac} in
  mac) key=cubeos-$suffix ;;
  random)
    key=$(random_key)
    [[ $key =~ $RANDOM_KEY ]] || die "no random WiFi key could be made"
    # First there, then in ap.env: the other way a power cut could lose it.
    wifi_note "$ssid" "$key" | to_boot_partition cubeos-wifi.txt \
      || warn "the WiFi key could not be written to the boot partition; the console shows it"
    ;;
  *) die "CUBEOS_WIFI_KEY_MODE is '$CUBEOS_WIFI_KEY_MODE': it must be mac or random" ;;
esac
read -r country < <(imager_country) || country=

install -d -m 0750 "$CONFIG_DIR"
{
  printf 'CUBEOS_AP_SSID=%s\nCUBEOS_AP_KEY=%s\n' "$ssid" "$key"
  if [[ $country ]]; then
    echo "CUBEOS_WIFI_COUNTRY=$country"
  fi
} | write_file "$ap" 0600
log "access point: $ssid"
