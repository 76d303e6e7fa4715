#!/bin/bash
# Sets how the access point's clients reach other networks:
#   cubeos-network-mode                 what is in force
#   cubeos-network-mode apply           put the saved mode in force (every boot does)
#   cubeos-network-mode MODE            save MODE and put it in force
#   cubeos-network-mode off             take all rules back until the next boot
# OFFLINE: not at all. ONLINE_ETH: by eth0. ONLINE_WIFI: by wlan1.
# Only chains of our own are filled, emptied or removed: Docker's stay as they are.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

saved=$CONFIG_DIR/network.env

# What is ours: family, table, chain, and the built-in chain that jumps to it.
chains=(
  'iptables filter CUBEOS-INPUT INPUT'
  'iptables filter CUBEOS-FORWARD FORWARD'
  'iptables nat CUBEOS-POSTROUTING POSTROUTING'
  'ip6tables filter CUBEOS-INPUT INPUT'
  'ip6tables filter CUBEOS-FORWARD FORWARD'
)

# each_chain COMMAND: calls it with each line above, but for what this kernel
# does not have.
each_chain() {
  local line family table chain from
  for line in "${chains[@]}"; do
    read -r family table chain from <<<"$line"
    if [[ $family == iptables || -d $ROOT/proc/sys/net/ipv6 ]]; then
      "$1" "$family" "$table" "$chain" "$from"
    fi
  done
}

# rules MODE: what is in our IPv4 chains.
rules() {
  local uplink=
  case $1 in
    ONLINE_ETH) uplink=eth0 ;;
    ONLINE_WIFI) uplink=wlan1 ;;
  esac
  echo '*filter'
  vxlan_rules
  echo ':CUBEOS-FORWARD - [0:0]'
  if [[ $uplink ]]; then
    echo "-A CUBEOS-FORWARD -i wlan0 -o $uplink -j ACCEPT"
    echo "-A CUBEOS-FORWARD -i $uplink -o wlan0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
  fi
  # A container's published port is reached by a translated address, and whether
  # it may be is Docker's business.
  echo '-A CUBEOS-FORWARD -i wlan0 -m conntrack ! --ctstate DNAT -j DROP'
  local other
  for other in eth+ en+ usb+ wlan+; do
    echo "-A CUBEOS-FORWARD -i $other -o wlan0 -j DROP"
  done
  echo COMMIT
  echo '*nat'
  echo ':CUBEOS-POSTROUTING - [0:0]'
  if [[ $uplink ]]; then
    echo "-A CUBEOS-POSTROUTING -s 10.42.24.0/24 -o $uplink -j MASQUERADE"
  fi
  echo COMMIT
}

# Clients get no IPv6 from us, and what they make up themselves goes nowhere.
rules6() {
  echo '*filter'
  vxlan_rules
  echo ':CUBEOS-FORWARD - [0:0]'
  echo '-A CUBEOS-FORWARD -i wlan0 -j DROP'
  echo '-A CUBEOS-FORWARD -o wlan0 -j DROP'
  echo COMMIT
}

# The kernel takes Swarm's VXLAN packets on every address, from whoever sends
# them, and puts them on the containers' network. This Swarm has one node.
vxlan_rules() {
  echo ':CUBEOS-INPUT - [0:0]'
  echo '-A CUBEOS-INPUT ! -i lo -p udp -m udp --dport 4789 -j DROP'
}

# add_jump FAMILY TABLE CHAIN FROM: one jump at the top of a built-in chain.
add_jump() {
  if ! "$1" -w 10 -t "$2" -C "$4" -j "$3" 2>/dev/null; then
    "$1" -w 10 -t "$2" -I "$4" 1 -j "$3"
  fi
}

remove_chain() {
  if ! "$1" -w 10 -t "$2" -n -L "$3" >/dev/null 2>&1; then
    return 0
  fi
  while "$1" -w 10 -t "$2" -C "$4" -j "$3" 2>/dev/null; do
    "$1" -w 10 -t "$2" -D "$4" -j "$3"
  done
  "$1" -w 10 -t "$2" -F "$3"
  "$1" -w 10 -t "$2" -X "$3"
}

in_force() {
  install -d -m 0755 "$RUN_DIR"
  echo "$1" >"$RUN_DIR/network-mode"
  log "network mode: $1"
}

apply() {
  rules "$1" | iptables-restore -w 10 --noflush
  if [[ -d $ROOT/proc/sys/net/ipv6 ]]; then
    rules6 | ip6tables-restore -w 10 --noflush
  fi
  each_chain add_jump
  in_force "$1"
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
  off)
    each_chain remove_chain
    in_force off
    ;;
  *)
    die "usage: cubeos-network-mode [show|apply|OFFLINE|ONLINE_ETH|ONLINE_WIFI|off]"
    ;;
esac
