#!/bin/bash
# Every boot after the first: Docker has restarted what ran before; what is
# missing is started again, what does not answer is restarted once.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

swarm() {
  "$LIB_DIR/cubeos-generate-secrets.sh" || fail "the secrets could not be completed"
  export_config
  ensure_swarm
  ensure_swarm_secret cubeos_jwt_secret "${CUBEOS_JWT_SECRET:?}"
  ensure_swarm_secret cubeos_encryption_key "${CUBEOS_ENCRYPTION_KEY:?}"
}

running() { [[ $(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null) == true ]]; }

core_service() {
  if ! running "cubeos-$1"; then
    warn "$1 is not running: starting it"
    compose_up "$1" "$2"
  fi
}

stack() {
  if ! docker service inspect "$1_$2" >/dev/null 2>&1; then
    warn "stack $1 is lost: deploying it again"
    stack_deploy "$1" "$3"
  fi
}

start_missing() {
  core_service pihole "${PIHOLE_IMAGE:?}"
  core_service npm "${NPM_IMAGE:?}"
  core_service hal "${HAL_IMAGE:?}"
  stack cubeos-api api "${API_IMAGE:?}"
  stack cubeos-dashboard dashboard "${DASHBOARD_IMAGE:?}"
}

restart_service() {
  case $1 in
    cubeos-*) timeout 120 docker service update --quiet --detach --force "$1_${1#cubeos-}" ;;
    *) compose "$1" restart ;;
  esac
}

await_all() {
  local service
  for service in pihole npm hal cubeos-api cubeos-dashboard; do
    if ! wait_for "$CUBEOS_HEALTH_TIMEOUT" service_answers "$service"; then
      warn "$service does not answer after $CUBEOS_HEALTH_TIMEOUT s: restarting it"
      restart_service "$service" || warn "$service could not be restarted"
    fi
    await_service "$service"
  done
}

access_point() { "$LIB_DIR/cubeos-access-point.sh" || fail "the access point is not up"; }

network_mode() { "$LIB_DIR/cubeos-network-mode.sh" apply || fail "the network mode was not applied"; }

log "normal boot"
wait_for_docker
stage swarm swarm
stage missing-services start_missing
stage network-mode network_mode
stage access-point access_point
stage services await_all

if ((${#FAILURES[@]})); then
  printf 'CUBEOS: normal boot: %s\n' "${FAILURES[@]}" >&2
  die "normal boot ended with ${#FAILURES[@]} problem(s), see above"
fi
log "normal boot complete after $SECONDS s"
