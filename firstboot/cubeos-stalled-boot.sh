#!/bin/bash
# Says on every console, at the login prompt and in the journal that a boot takes too
# long, and what it is at. Runs every minute until the boot is over.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

: "${CUBEOS_BOOT_LIMIT:=900}" # in seconds

told=$RUN_DIR/stalled-boot # what cubeos-console.sh shows

# tell MESSAGE: one of the consoles may be a serial line that nobody reads.
tell() {
  local name
  for name in $(<"$ROOT/sys/class/tty/console/active"); do
    timeout --kill-after=1 5 tee "$ROOT/dev/$name" <<<$'\r\n'"CUBEOS: WARNING: $1"$'\r' >/dev/null || warn "nothing can be shown on $name"
  done
}

over() {
  systemctl stop --no-block cubeos-stalled-boot.timer
  if [[ -e $told ]]; then
    rm "$told"
    log "the boot that took too long is over: cubeos-init is $1"
    systemctl start --no-block cubeos-banner.service
  fi
}

state='' began=0 # in microseconds of uptime; a boot that waits for something else has no own
while IFS='=' read -r name value; do
  case $name in
    ActiveState) state=$value ;;
    InactiveExitTimestampMonotonic) began=$value ;;
  esac
done < <(systemctl show --property=ActiveState,InactiveExitTimestampMonotonic cubeos-init.service)

if [[ $state == active || $state == failed ]]; then
  over "$state"
  exit 0
fi
lasts=$(($(uptime_seconds) - began / 1000000))
((lasts >= CUBEOS_BOOT_LIMIT)) || exit 0
if stage=$(stage_now); then
  stage="stage $stage"
else
  stage="no stage yet, see 'systemctl list-jobs'"
fi
message="the boot is not complete after $(duration "$lasts"): $stage"
warn "$message"
write_file "$told" 0644 <<<"$message"
tell "$message"
timeout --kill-after=5 60 "$LIB_DIR/cubeos-banner.sh" >/dev/null || warn "the login prompt does not show it"
