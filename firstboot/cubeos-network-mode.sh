#!/bin/bash
# Sets how the access point's clients reach other networks:
#   cubeos-network-mode                      what is in force
#   cubeos-network-mode apply                put the saved mode in force and right what
#                                            others have changed (every boot does)
#   cubeos-network-mode check                whether the rules are still in force
#   cubeos-network-mode MODE                 save MODE, put it in force, tell the API
#   cubeos-network-mode ONLINE_WIFI NAME     and wlan1 joins the WiFi NAME; its key is
#                                            the first line of standard input
#   cubeos-network-mode requested MODE …     the same without telling the API: it asked
#   cubeos-network-mode off                  take all rules back until the next boot
# OFFLINE: not at all. ONLINE_ETH: by eth0. ONLINE_WIFI: by wlan1.
# Only chains of our own are filled, emptied or removed: Docker's stay as they are.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

saved=$CONFIG_DIR/network.env

# Where other networks are.
outside=(eth+ en+ usb+ wlan+)

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
  local uplink='' other
  case $1 in
    ONLINE_ETH) uplink=eth0 ;;
    ONLINE_WIFI) uplink=wlan1 ;;
  esac
  echo '*filter'
  input_rules
  echo ':CUBEOS-FORWARD - [0:0]'
  if [[ $uplink ]]; then
    echo "-A CUBEOS-FORWARD -i wlan0 -o $uplink -j ACCEPT"
    echo "-A CUBEOS-FORWARD -i $uplink -o wlan0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
  fi
  # A container's published port is reached by a translated address, and whether
  # it may be is Docker's business.
  echo '-A CUBEOS-FORWARD -i wlan0 -m conntrack ! --ctstate DNAT -j DROP'
  for other in "${outside[@]}"; do
    echo "-A CUBEOS-FORWARD -i $other -o wlan0 -j DROP"
  done
  echo COMMIT
  echo '*nat'
  echo ':CUBEOS-POSTROUTING - [0:0]'
  if [[ $uplink ]]; then
    echo "-A CUBEOS-POSTROUTING -s 10.42.24.0/24 -o $uplink -j MASQUERADE"
  fi
  # Docker does that, too, but HAL empties the chain that Docker does it in. These
  # are all networks that Docker and Swarm are given.
  for other in "${outside[@]}"; do
    echo "-A CUBEOS-POSTROUTING -s 172.16.0.0/12 -o $other -j MASQUERADE"
  done
  echo COMMIT
}

# Clients get no IPv6 from us, and what they make up themselves goes nowhere.
rules6() {
  echo '*filter'
  input_rules
  echo ':CUBEOS-FORWARD - [0:0]'
  echo '-A CUBEOS-FORWARD -i wlan0 -j DROP'
  echo '-A CUBEOS-FORWARD -o wlan0 -j DROP'
  echo COMMIT
}

# What is for this device alone and listens on every address: the kernel takes
# Swarm's VXLAN packets from whoever sends them and puts them on the containers'
# network, and this Swarm has one node; and what services.json has blocked.
input_rules() {
  local protocol port
  echo ':CUBEOS-INPUT - [0:0]'
  echo '-A CUBEOS-INPUT ! -i lo -p udp -m udp --dport 4789 -j DROP'
  while read -r protocol port; do
    case $protocol in
      tcp) echo "-A CUBEOS-INPUT ! -i lo -p tcp -m tcp --dport $port -j REJECT --reject-with tcp-reset" ;;
      udp) echo "-A CUBEOS-INPUT ! -i lo -p udp -m udp --dport $port -j DROP" ;;
    esac
  done <<<"$blocked"
}

# add_jump FAMILY TABLE CHAIN FROM: one jump at the top of a built-in chain.
add_jump() {
  if ! "$1" -w 10 -t "$2" -C "$4" -j "$3" 2>/dev/null; then
    "$1" -w 10 -t "$2" -I "$4" 1 -j "$3"
  fi
}

has_jump() { "$1" -w 10 -t "$2" -C "$4" -j "$3" 2>/dev/null || exit 1; }

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

# remove_leftovers: what HAL adds for a change of mode says the same as our rules, or
# what the mode forbids. Docker has no rules of this form.
remove_leftovers() {
  local rule
  iptables -w 10 -t nat -S POSTROUTING | while read -ra rule; do
    if [[ ${rule[*]} =~ ^'-A POSTROUTING -s '(10\.42\.24\.|172\.(1[6-9]|2[0-9]|3[01])\.)[0-9./]+' -o '[^\ ]+' -j MASQUERADE'$ ]]; then
      iptables -w 10 -t nat -D "${rule[@]:1}" || warn "HAL's rule '${rule[*]}' stays"
    fi
  done
}

# read_key NAME: a line of standard input becomes key.
read_key() {
  if [[ -t 0 ]]; then
    printf 'Key of %s (nothing: the saved one, or none): ' "$1" >&2
  fi
  IFS= read -rs key || true # it may end without a new line
  if [[ -t 0 ]]; then
    echo >&2
  fi
}

# save_wifi NAME KEY: wlan1 is to join this network, and no other. No key stands for
# the one that was saved for this name or, failing that, for a network without.
save_wifi() {
  local name key=$2
  wifi_name_valid "$1" || die "'$1' is no name of a WiFi: it has 1 to 32 bytes"
  name=$(hex "$1")
  if [[ -z $key ]]; then
    key=$(wifi_networks | sed -n "s/^$name //p" | head -n 1)
  elif wifi_key_valid "$key"; then
    key="\"$key\""
  elif [[ ! $key =~ ^[0-9A-Fa-f]{64}$ ]]; then
    die "what was given as the key of $1 is none: it has 8 to 63 characters"
  fi
  if [[ $(wifi_networks) != "$name $key" ]]; then
    install -d -m 0755 "${WLAN1_CONF%/*}"
    # As HAL writes it, which adds networks and has wpa_supplicant save them.
    {
      printf 'ctrl_interface=DIR=/run/wpa_supplicant GROUP=netdev\nupdate_config=1\nnetwork={\n\tssid=%s\n' "$name"
      if [[ $key ]]; then
        printf '\tpsk=%s\n}\n' "$key"
      else
        printf '\tkey_mgmt=NONE\n}\n'
      fi
    } | write_file "$WLAN1_CONF" 0600
  fi
}

# join_wifi: wlan1 is where its configuration says, by its unit. HAL starts a
# wpa_supplicant of its own where it finds none, and disconnects it at each change.
join_wifi() {
  local now joined=$RUN_DIR/wlan1.sha256
  [[ -e $ROOT/sys/class/net/wlan1 && -f $WLAN1_CONF ]] || return 0
  now=$(sha256sum <"$WLAN1_CONF")
  if [[ -f $joined && $(<"$joined") == "$now" ]] && systemctl is-active --quiet wpa_supplicant@wlan1.service; then
    wpa_cli -i wlan1 reconnect >/dev/null || warn "wlan1 can not be told to join its network again"
    return
  fi
  if wpa_cli -i wlan1 terminate >/dev/null 2>&1; then
    wait_for 5 test ! -e "$ROOT/run/wpa_supplicant/wlan1" || warn "a wpa_supplicant for wlan1 does not end"
  fi
  if systemctl restart wpa_supplicant@wlan1.service; then
    echo "$now" >"$joined"
  else
    warn "wlan1 does not join its network: see 'journalctl -u wpa_supplicant@wlan1'"
  fi
}

in_force() {
  echo "$1" >"$RUN_DIR/network-mode"
  log "network mode: $1"
}

apply() {
  # Without it no container reaches anything or is reached, whatever the mode is.
  echo 1 >"$ROOT/proc/sys/net/ipv4/ip_forward" || warn "forwarding can not be switched on"
  blocked=$(jq --raw-output '.services[].ports[] | select(.reach == "blocked") | .port as $port | .protocols[] | "\(.) \($port)"' "$SERVICES_FILE") \
    || warn "$SERVICES_FILE can not be read: ports of services may be open that should not be"
  rules "$1" | iptables-restore -w 10 --noflush
  if [[ -d $ROOT/proc/sys/net/ipv6 ]]; then
    rules6 | ip6tables-restore -w 10 --noflush
  fi
  each_chain add_jump
  remove_leftovers
  if [[ $1 == ONLINE_WIFI ]]; then
    join_wifi
  fi
  in_force "$1"
}

known() { [[ $1 =~ ^(OFFLINE|ONLINE_ETH|ONLINE_WIFI)$ ]]; }

# set_mode MODE [NAME]: with the key that was read. It is saved before it is in
# force, so that a power cut in between does not lose it.
set_mode() {
  if ! known "${1:-}" || (($# > 2)) || [[ ${2+named} && $1 != ONLINE_WIFI ]]; then
    die "usage: cubeos-network-mode [show|apply|check|OFFLINE|ONLINE_ETH|ONLINE_WIFI [NAME]|off]"
  fi
  if [[ ${2+named} ]]; then
    save_wifi "$2" "$key"
  fi
  echo "CUBEOS_NETWORK_MODE=$1" | write_file "$saved" 0644
  apply "$1"
}

tells=yes key=''
if [[ ${1:-} == requested ]]; then
  tells=''
  shift
fi
install -d -m 0755 "$RUN_DIR"
if [[ ${1:-show} == show ]]; then
  cat "$RUN_DIR/network-mode" 2>/dev/null || echo 'none applied yet'
  exit
fi
if (($# == 2)); then
  read_key "$2"
fi
exec 8>"$RUN_DIR/network-mode.lock"
flock 8
case $1 in
  apply)
    export_defaults
    export_env "$saved"
    mode=${CUBEOS_NETWORK_MODE:-OFFLINE}
    if ! known "$mode"; then
      warn "the saved network mode '$mode' is none of OFFLINE, ONLINE_ETH, ONLINE_WIFI: taking OFFLINE"
      mode=OFFLINE
    fi
    apply "$mode"
    ;;
  check)
    if [[ $(cat "$RUN_DIR/network-mode" 2>/dev/null) != off ]]; then
      [[ $(<"$ROOT/proc/sys/net/ipv4/ip_forward") == 1 ]] || exit 1
      each_chain has_jump
    fi
    ;;
  off)
    each_chain remove_chain
    in_force off
    ;;
  *)
    set_mode "$@"
    if [[ $tells ]]; then
      systemctl restart --no-block cubeos-tell-network-mode.timer || warn "the API is not told of it"
    fi
    ;;
esac
