#!/bin/bash
# Shows the state of the device and does, at the press of a key, what helps when
# nobody can log in: for a screen and a keyboard, which are standard output and input.
#   cubeos-console NAME    the terminal's, as in tty1
# Drawing and keys depend on no other program, so that there is always an answer.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

: "${CUBEOS_REDRAW:=5}" "${CUBEOS_LOOK_EVERY:=30}" "${CUBEOS_KEY_TIMEOUT:=60}" # in seconds

state=$RUN_DIR/state-${1:?}
look_at=0

# look: asks for the state in the background, at times. Should that not end in time,
# the screen keeps what it had, and says of when that is.
look() {
  if ((SECONDS >= look_at)) && [[ ! $(jobs -pr) ]]; then
    look_at=$((SECONDS + CUBEOS_LOOK_EVERY))
    timeout --kill-after=5 "$CUBEOS_LOOK_EVERY" "$LIB_DIR/cubeos-state.sh" "$state" </dev/null &>/dev/null &
  fi
}

# look_away: what hangs so that it can not be killed is left behind.
look_away() {
  local pid
  for pid in $(jobs -pr); do
    kill "$pid" || :
    wait_for 2 test ! -e "/proc/$pid" || :
  done
}

draw() {
  local text='Looking at the device …' stage
  if [[ -s $state ]]; then
    text=$(<"$state")
  fi
  if stage=$(stage_now); then
    text+=$'\n'"Boot      at stage $stage"
  fi
  if [[ -s $RUN_DIR/stalled-boot ]]; then
    text+=$'\n'"Problem   $(<"$RUN_DIR/stalled-boot")"
  fi
  # The screen is emptied, and what was there before it, too.
  printf '\e[H\e[2J\e[3J%s\n\n%s' "$text" '1 restart the services     2 write a diagnosis file to the boot partition
3 OFFLINE, access point    4 factory reset    5 log in (or Alt+F2)
'
}

# act TITLE SECONDS COMMAND…: shows what it says.
act() {
  local title=$1 limit=$2 key
  shift 2
  log "asked for at the console: $title" >&2
  printf '\e[H\e[2J%s …\n\n' "$title"
  if timeout --kill-after=10 "$limit" "$@" </dev/null 2>&1; then
    printf '\nDone.'
  else
    printf '\nThat did NOT work (exit status %s).' $?
  fi
  printf ' Any key leads back.\n'
  read -rsn 1 -t "$CUBEOS_KEY_TIMEOUT" key || :
  look_at=0
}

factory_reset() {
  local word=''
  printf '\e[H\e[2J%s\n\n%s' 'A factory reset deletes everything that is yours on this device: settings,
passwords, data and apps. Then it starts as it did for the first time.' \
    'To do that, type the word RESET and press Enter; anything else leads back: '
  read -r -t "$CUBEOS_KEY_TIMEOUT" word || word=
  if [[ $word == RESET ]]; then
    act 'factory reset' 600 "$LIB_DIR/cubeos-factory-reset.sh" request
  fi
}

# Keys that mean something to a terminal mean nothing here.
trap : INT QUIT
trap look_away EXIT
install -d -m 0755 "$RUN_DIR"
while :; do
  look
  draw
  key='' status=0
  read -rsn 1 -t "$CUBEOS_REDRAW" key || status=$?
  if ((status > 0 && status <= 128)); then
    exit 0 # nobody is there any more
  fi
  case $key in
    $'\e') while read -rsn 1 -t 0.1 key; do :; done ;; # Delete sends a 3 as well
    1) act 'restart of the services' 900 "$LIB_DIR/cubeos-restart-services.sh" ;;
    2) act 'diagnosis file' 900 "$LIB_DIR/cubeos-diagnosis.sh" ;;
    3) act 'OFFLINE, access point' 300 "$LIB_DIR/cubeos-offline.sh" ;;
    4) factory_reset ;;
    5)
      look_away
      printf '\e[H\e[2J'
      exec agetty --noreset --noclear --timeout "$CUBEOS_KEY_TIMEOUT" - "${TERM:-linux}"
      ;;
  esac
done
