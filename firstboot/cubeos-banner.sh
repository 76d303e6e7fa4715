#!/bin/bash
# Says on the console and at the login prompt how to reach this device and how its
# boot went. Runs at the end of each boot, when the access point has changed and when
# the watchdog has done something.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

issue=$ROOT/run/issue.d/cubeos.issue
export_config

state() {
  local mode=boot
  if [[ -f $RUN_DIR/boot-mode ]]; then
    mode="$(<"$RUN_DIR/boot-mode") boot"
  fi
  case $(systemctl show --property ActiveState --value cubeos-init.service) in
    active) echo "$mode complete" ;;
    activating) echo "$mode not yet complete$(stage_now | sed 's/^/: stage /')" ;;
    *) echo "$mode NOT complete" ;;
  esac
}

failed_units() {
  systemctl list-units --failed --plain --no-legend 'cubeos-*.service' | awk '{ print $1 }'
}

# problems UNIT: what it said when it failed.
problems() {
  local said
  said=$(journalctl --boot --unit "$1" --output cat --no-pager | sed -n 's/^CUBEOS: ERROR: //p' | awk '!seen[$0]++' | tail -n 8)
  echo "${said:-$1 failed and does not say why}"
}

access_point() {
  if [[ ! -e $ROOT/sys/class/net/wlan0 ]]; then
    echo 'WiFi      none: there is no wlan0'
  elif ! systemctl is-active --quiet hostapd.service; then
    echo 'WiFi      not up'
  else
    echo "WiFi      $CUBEOS_AP_SSID"
    if [[ $CUBEOS_AP_KEY =~ $RANDOM_KEY ]]; then
      echo "WiFi key  $CUBEOS_AP_KEY"
    fi
    echo "          http://$CUBEOS_DOMAIN or http://$CUBEOS_ADDRESS"
  fi
}

passwords() {
  local password
  if password=$(device_password); then
    echo "Password  $password"
    echo "          of Pi-hole, of $CUBEOS_NPM_EMAIL in Nginx Proxy Manager"
    echo "          and, once set-up is complete, of admin in the Dashboard"
  fi
}

banner() {
  local unit
  echo "CubeOS    $(state)"
  for unit in $(failed_units); do
    problems "$unit" | sed 's/^/Problem   /'
  done
  if compgen -G "$RUN_DIR/watchdog/*.problem" >/dev/null; then
    sed 's/^/Problem   /' "$RUN_DIR"/watchdog/*.problem
  fi
  if [[ -f $RUN_DIR/watchdog/actions ]]; then
    tail -n 3 "$RUN_DIR/watchdog/actions" | sed 's/^/Watchdog  /'
  fi
  access_point
  passwords
}

journalctl --sync
text=$(banner)
# agetty takes a backslash as the start of a name; of eth0's address it is one
# whose value it looks up whenever it changes.
if [[ ! -f $issue ]] || ! cmp -s - "$issue" <<<"${text//\\/\\\\}"$'\nCable     \\4{eth0}\n'; then
  address=$(cable_address) || address=
  printf '%s\n' "$text" "Cable     ${address:-no address}"
  install -d -m 0755 "${issue%/*}"
  write_file "$issue" 0644 <<<"${text//\\/\\\\}"$'\nCable     \\4{eth0}\n'
  agetty --reload
fi
