#!/bin/bash
# Makes the access point's name and key from wlan0's MAC address in
# /cubeos/config/ap.env. A file that has both stays as it is.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

ap=$CONFIG_DIR/ap.env
address=$ROOT/sys/class/net/wlan0/address

if [[ -f $ap ]] && grep -Eq '^CUBEOS_AP_SSID=.+' "$ap" && grep -Eq '^CUBEOS_AP_KEY=.{8,63}$' "$ap"; then
  exit 0
fi
[[ -r $address ]] || die "no wlan0: the access point's name and key are made from its MAC address"
mac=$(<"$address")
[[ $mac =~ ^([0-9A-Fa-f]{2}:){3}([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2}):([0-9A-Fa-f]{2})$ ]] \
  || die "wlan0 has no usable MAC address: '$mac'"
suffix=${BASH_REMATCH[2]}${BASH_REMATCH[3]}${BASH_REMATCH[4]}
suffix=${suffix^^}

install -d -m 0750 "$CONFIG_DIR"
printf 'CUBEOS_AP_SSID=CubeOS-%s\nCUBEOS_AP_KEY=cubeos-%s\n' "$suffix" "$suffix" | write_file "$ap" 0600
log "access point: CubeOS-$suffix"
