#!/bin/bash
# Sets how the access point's clients reach other networks:
#   cubeos-network-mode                 what is in force
#   cubeos-network-mode apply           put the saved mode in force (every boot does)
#   cubeos-network-mode MODE            save MODE and put it in force
# OFFLINE: not at all. ONLINE_ETH: by eth0. ONLINE_WIFI: by wlan1.
# Only chains of our own are filled or emptied, so Docker's stay as they are.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

saved=$CONFIG_DIR/network.env

rules() {
  local mode=$1 uplink other
  case $mode in
    ONLINE_ETH) uplink=eth0 other=wlan1 ;;
    ONLINE_WIFI) uplink=wlan1 other=eth0 ;;
    OFFLINE) uplink='' other='' ;;
  esac
  echo '*filter'
  echo ':CUBEOS-FORWARD - [0:0]'
  if [[ -n $uplink ]]; then
    echo "-A CUBEOS-FORWARD -i wlan0 -o $uplink -j ACCEPT"
    echo "-A CUBEOS-FORWARD -i $uplink -o wlan0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
    echo "-A CUBEOS-FORWARD -i $uplink -o wlan0 -j DROP"
    echo "-A CUBEOS-FORWARD -i wlan0 -o $other -j DROP"
    echo "-A CUBEOS-FORWARD -i $other -o wlan0 -j DROP"
  else
    for other in eth0 wlan1; do
      echo "-A CUBEOS-FORWARD -i wlan0 -o $other -j DROP"
      echo "-A CUBEOS-FORWARD -i $other -o wlan0 -j DROP"
    done
  fi
  echo COMMIT
  echo '*nat'
  echo ':CUBEOS-POSTROUTING - [0:0]'
  if [[ -n $uplink ]]; then
    echo "-A CUBEOS-POSTROUTING -s 10.42.24.0/24 -o $uplink -j MASQUERADE"
  fi
  echo COMMIT
}

# ensure_jump TABLE FROM TO: one jump at the top of a built-in chain.
ensure_jump() {
  if ! iptables -w 10 -t "$1" -C "$2" -j "$3" 2>/dev/null; then
    iptables -w 10 -t "$1" -I "$2" 1 -j "$3"
  fi
}

apply() {
  rules "$1" | iptables-restore -w 10 --noflush
  ensure_jump filter FORWARD CUBEOS-FORWARD
  ensure_jump nat POSTROUTING CUBEOS-POSTROUTING
  install -d -m 0755 "$RUN_DIR"
  echo "$1" >"$RUN_DIR/network-mode"
  log "network mode: $1"
}

case ${1:-show} in
  show)
    if [[ -f $RUN_DIR/network-mode ]]; then
      cat "$RUN_DIR/network-mode"
    else
      echo 'none applied yet'
    fi
    ;;
  apply)
    export_env "$CONFIG_DIR/defaults.env" "$saved"
    mode=${CUBEOS_NETWORK_MODE:-OFFLINE}
    if [[ ! $mode =~ ^(OFFLINE|ONLINE_ETH|ONLINE_WIFI)$ ]]; then
      warn "the saved network mode '$mode' is none of OFFLINE, ONLINE_ETH, ONLINE_WIFI: taking OFFLINE"
      mode=OFFLINE
    fi
    apply "$mode"
    ;;
  OFFLINE | ONLINE_ETH | ONLINE_WIFI)
    apply "$1"
    echo "CUBEOS_NETWORK_MODE=$1" | write_file "$saved" 0644
    ;;
  *)
    die "usage: cubeos-network-mode [show|apply|OFFLINE|ONLINE_ETH|ONLINE_WIFI]"
    ;;
esac
