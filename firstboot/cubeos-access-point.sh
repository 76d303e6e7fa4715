#!/bin/bash
# Starts the access point on wlan0 with the saved name and key. A device without
# wlan0 is a device without an access point, not a broken one; should it appear
# later, cubeos-access-point.service runs this again.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

conf=$ROOT/etc/hostapd/hostapd.conf
started_with=$RUN_DIR/hostapd.conf # hostapd.service leaves it there

if [[ ! -e $ROOT/sys/class/net/wlan0 ]]; then
  warn "no wlan0: there is no access point until it appears; the services are reached by cable"
  exit 0
fi
"$LIB_DIR/cubeos-wifi-settings.sh"
export_config
action=start
if ! cmp -s "$conf" "$started_with"; then
  action=restart
fi
# HAL makes wlan0 a client where it is asked to.
if [[ -e $ROOT/run/wpa_supplicant/wlan0 ]]; then
  warn "something has made wlan0 a client of another WiFi: it is the access point again"
  wpa_cli -i wlan0 terminate >/dev/null || rm -f "$ROOT/run/wpa_supplicant/wlan0" # it was killed
  action=restart
fi

if [[ -e $ROOT/dev/rfkill ]]; then
  rfkill unblock wlan
fi
iw reg set "$CUBEOS_WIFI_COUNTRY"
timeout 60 systemctl "$action" hostapd.service \
  || die "hostapd does not start: see 'journalctl -u hostapd'"
log "access point $CUBEOS_AP_SSID is up on wlan0"
