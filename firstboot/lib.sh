#!/bin/bash
# What the boot scripts share; sourced, never run. CUBEOS_ROOT puts every path
# below another root, so that the scripts can be tested without a device.
# shellcheck disable=SC2034 # the scripts use the paths
set -Eeuo pipefail
export LC_ALL=C.UTF-8

ROOT=${CUBEOS_ROOT:-}
LIB_DIR=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CONFIG_DIR=$ROOT/cubeos/config
COREAPPS_DIR=$ROOT/cubeos/coreapps
STATE_DIR=$ROOT/var/lib/cubeos
IMAGES_DIR=$STATE_DIR/images
RUN_DIR=$ROOT/run/cubeos
FIRST_BOOT_MARKER=$STATE_DIR/first-boot-complete

# What a key looks like that was made here: no person's choice is shown.
RANDOM_WIFI_KEY='^[a-z2-9]{4}(-[a-z2-9]{4}){3}$'

# Longest waits, in seconds. POLL is the time between two looks.
: "${CUBEOS_POLL:=0.5}" "${CUBEOS_DOCKER_TIMEOUT:=180}" "${CUBEOS_SWARM_TIMEOUT:=90}"
: "${CUBEOS_HEALTH_TIMEOUT:=180}"

FAILURES=()

log() { printf 'CUBEOS: %s\n' "$*"; }

warn() { printf 'CUBEOS: WARNING: %s\n' "$*" >&2; }

die() {
  printf 'CUBEOS: ERROR: %s\n' "$*" >&2
  exit 1
}

# Says that something did not work and goes on: a service that is down is no
# reason to keep the others and the access point from starting.
fail() {
  printf 'CUBEOS: ERROR: %s\n' "$*" >&2
  FAILURES+=("$*")
}

# stage NAME COMMAND…: runs a step between two markers that say how long it took.
stage() {
  local name=$1 began=$SECONDS before=${#FAILURES[@]}
  shift
  log "stage $name: start"
  "$@"
  if ((${#FAILURES[@]} > before)); then
    log "stage $name: FAILED after $((SECONDS - began)) s"
  else
    log "stage $name: done in $((SECONDS - began)) s"
  fi
}

# wait_for SECONDS COMMAND…: repeats a command until it succeeds, quietly.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep "$CUBEOS_POLL"
  done
}

# write_file PATH MODE: standard input becomes the file, all of it or nothing.
write_file() {
  local partial=$1.partial
  rm -f "$partial"
  (umask 077 && cat >"$partial")
  chmod "$2" "$partial"
  sync "$partial"
  mv -f "$partial" "$1"
  sync "$(dirname "$1")"
}

# export_env FILE…: exports the KEY=value lines of the files that exist, without
# running them as a script.
export_env() {
  local file line
  for file in "$@"; do
    [[ -f $file ]] || continue
    while IFS= read -r line || [[ -n $line ]]; do
      if [[ $line =~ ^([A-Z][A-Z0-9_]*)=(.*)$ ]]; then
        export "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"
      fi
    done <"$file"
  done
}

# What the compose files and stacks refer to; the later file wins.
export_config() {
  export_env "$CONFIG_DIR"/{defaults,images,secrets,ap,network}.env
}

docker_answers() { timeout 20 docker version --format '{{.Server.Version}}'; }

wait_for_docker() {
  wait_for "$CUBEOS_DOCKER_TIMEOUT" docker_answers \
    || die "Docker does not answer after $CUBEOS_DOCKER_TIMEOUT s: see 'journalctl -u docker'"
}

image_present() { docker image inspect "$1" >/dev/null 2>&1; }

swarm_state() { docker info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}'; }

# A node that is on its way is given its time; an inactive one needs none.
swarm_settled() { [[ $(swarm_state) == 'active true' || $(swarm_state) == inactive* ]]; }

swarm_manages() { timeout 20 docker node ls --quiet; }

# Makes this device a Swarm of one. Only the loopback address is used, so that
# Swarm neither needs a network nor listens on one.
ensure_swarm() {
  wait_for "$CUBEOS_SWARM_TIMEOUT" swarm_settled || warn "Swarm is '$(swarm_state)'"
  if [[ $(swarm_state) == 'active true' ]] && wait_for "$CUBEOS_SWARM_TIMEOUT" swarm_manages; then
    return 0
  fi
  if [[ $(swarm_state) != inactive* ]]; then
    warn "Swarm's state is broken: making a new one"
    docker swarm leave --force || warn "leaving the broken Swarm failed"
  fi
  docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377 --task-history-limit 1 >/dev/null \
    || {
      fail "Swarm could not be initialised"
      return 0
    }
  log "Swarm initialised"
}

ensure_swarm_secret() {
  if ! docker secret inspect "$1" >/dev/null 2>&1; then
    printf '%s' "$2" | docker secret create "$1" - >/dev/null || fail "Swarm secret $1 could not be created"
  fi
}

compose() { docker compose --file "$COREAPPS_DIR/$1/appconfig/docker-compose.yml" "${@:2}"; }

# compose_up APP IMAGE
compose_up() {
  if ! image_present "$2"; then
    fail "$1: its image $2 is not on this device"
  elif ! compose "$1" up --detach --no-build --pull never --quiet-pull; then
    fail "$1: docker compose could not start it"
  fi
}

# stack_deploy STACK IMAGE
stack_deploy() {
  if ! image_present "$2"; then
    fail "$1: its image $2 is not on this device"
  elif ! docker stack deploy --detach=true --resolve-image never \
    --compose-file "$COREAPPS_DIR/$1/appconfig/docker-compose.yml" "$1"; then
    fail "$1: docker stack deploy failed"
  fi
}

service_url() {
  case $1 in
    pihole) echo http://127.0.0.1:6001/admin/ ;;
    npm) echo http://127.0.0.1:81/api/ ;;
    hal) echo http://127.0.0.1:6005/health ;;
    cubeos-api) echo http://127.0.0.1:6010/health ;;
    cubeos-dashboard) echo http://127.0.0.1:6011/ ;;
    *) die "no service is called $1" ;;
  esac
}

# The real services redirect to log-in pages and the like: an answer below 400
# is a healthy one.
answers() { curl --silent --fail --max-time 5 --output /dev/null "$1"; }

service_answers() { answers "$(service_url "$1")"; }

await_service() {
  if wait_for "$CUBEOS_HEALTH_TIMEOUT" service_answers "$1"; then
    log "$1 answers on $(service_url "$1")"
  else
    fail "$1 does not answer on $(service_url "$1") after $CUBEOS_HEALTH_TIMEOUT s"
  fi
}
