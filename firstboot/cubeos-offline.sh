#!/bin/bash
# Takes the device back to where it can be reached without any other network: mode
# OFFLINE, and an access point that is started again.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

"$LIB_DIR/cubeos-network-mode.sh" OFFLINE
timeout 60 systemctl stop hostapd.service || warn "hostapd does not end"
timeout 120 systemctl restart cubeos-access-point.service || die "the access point does not come up: see 'journalctl -u cubeos-access-point'"
systemctl is-active --quiet hostapd.service || die "there is no access point: is there a wlan0?"
export_config
log "access point $CUBEOS_AP_SSID: http://$CUBEOS_DOMAIN or http://$CUBEOS_ADDRESS"
systemctl start --no-block cubeos-banner.service
