#!/bin/bash
# Takes over the network mode that the API asks for. For each change, whether it comes
# to its end or is taken back, the API has HAL write a netplan file. Here that is only
# a message: addresses are dhcpcd's, and the mode is cubeos-network-mode's.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

request=$ROOT/etc/netplan/01-cubeos.yaml
answered=$STATE_DIR/network-request
applied='' refused=''

# mark: of this request. The same again is another one: the mode may have been set by
# command since.
mark() { stat --format=%y "$request" && sha256sum <"$request"; }

is_answered() { [[ -f $answered && $(mark) == "$(<"$answered")" ]]; }

refuse() {
  warn "$1: the network mode stays as it is"
  refused=yes
}

# take_over MODE [NAME]
take_over() {
  if "$LIB_DIR/cubeos-network-mode.sh" requested "$@"; then
    applied=yes
  else
    refuse "$asked_for, which the API asks for, can not be set"
  fi
}

# What is in quotation marks is as the user typed it: the API escapes nothing, so a
# YAML parser would read something else, or nothing.
wifi_name() { LC_ALL=C sed -n '/^ *access-points:$/ { n; s/^ *"\(.*\)":$/\1/p; q }' "$request"; }

wifi_keys() { LC_ALL=C sed -n 's/^ *password: "\(.*\)"$/\1/p' "$request"; }

answer() {
  local asked_for='' name
  if [[ $(head -n 1 "$request") =~ ^'# CubeOS netplan '.*' '([a-z_]+)' mode' ]]; then
    asked_for=${BASH_REMATCH[1]}
  fi
  if head -n 1 "$request" | grep -q 'static IP'; then
    warn "the API asks for a fixed address: after the next boot it is the one that the network gives"
  fi
  case $asked_for in
    offline_hotspot) take_over OFFLINE ;;
    wifi_router) take_over ONLINE_ETH ;;
    wifi_bridge)
      name=$(wifi_name)
      if [[ $name && $(wifi_keys | wc -l) == 1 ]]; then
        take_over ONLINE_WIFI "$name" < <(wifi_keys)
      else
        refuse "the netplan file for $asked_for is cut off"
      fi
      ;;
    '') refuse "the netplan file that was written names no network mode" ;;
    *) refuse "the API asks for the network mode $asked_for, which this device does not have" ;;
  esac
}

while [[ -e $request ]] && ! is_answered; do
  asked=$(mark)
  answer
  if ! write_file "$answered" 0600 <<<"$asked"; then
    warn "that this was answered can not be noted: the next boot does it again"
    break
  fi
done
if [[ -z $applied ]]; then
  "$LIB_DIR/cubeos-network-mode.sh" apply
fi
if [[ $refused ]]; then
  # For a mode without an access point the API has ended it, and Pi-hole gives out
  # no more addresses. What the API is told, it sees to, too.
  systemctl start --no-block cubeos-access-point.service || warn "the access point may be off until the next boot"
  systemctl restart --no-block cubeos-tell-network-mode.timer || warn "the API may show another mode until the next boot"
fi
