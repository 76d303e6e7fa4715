#!/bin/bash
# Tells the state of this device: what the login prompt says, which services answer,
# what the watchdog did last, and the last warnings.
#   cubeos-state [FILE]    in FILE, all of it or nothing
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

issue=$ROOT/run/issue.d/cubeos.issue

# What of it agetty would look up is looked up here.
banner() {
  local address
  if [[ -f $issue ]]; then
    sed -e '/^Cable /d; /^$/d' -e 's/\\\\/\\/g' "$issue"
  fi
  address=$(cable_address) || address=
  echo "Cable     ${address:-no address}"
  echo "Network   $(cat "$RUN_DIR/network-mode" 2>/dev/null || echo 'no mode applied yet')"
}

service() {
  if service_answers "$1"; then
    echo "Service   $1 answers"
  else
    echo "Service   $1 DOES NOT ANSWER"
  fi
}

services() {
  local name
  read_services
  {
    for name in "${COMPOSE_SERVICES[@]}" "${STACKS[@]}"; do
      service "$name" &
    done
    wait
  } | sort
}

watchdog() {
  if [[ -s $RUN_DIR/watchdog/actions ]]; then
    tail -n 4 "$RUN_DIR/watchdog/actions" | sed 's/^/Watchdog  /'
  fi
}

warnings() {
  timeout --foreground --kill-after=1 10 journalctl --boot --quiet --unit 'cubeos-*' --unit hostapd.service --output cat --no-pager \
    | sed -n 's/^CUBEOS: WARNING: /Warning   /p' | awk '!seen[$0]++' | tail -n 4
}

state() {
  printf 'Seen      %(%F %T)T, %s after the start\n' -1 "$(duration "$(uptime_seconds)")"
  banner
  # While a boot is on its way not answering means nothing, and it needs the time.
  if ! stage_now >/dev/null; then
    services
  fi
  watchdog
  warnings || echo 'Warning   the journal does not answer'
}

# What is shown is not to tell the screen to do anything.
plain() { tr -d '\000-\010\013-\037\177'; }

if [[ ${1:-} ]]; then
  state 2>&1 | plain >"$1.new"
  mv -f "$1.new" "$1"
else
  state 2>&1 | plain
fi
