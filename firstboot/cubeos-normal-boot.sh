#!/bin/bash
# Every boot after the first: Docker has restarted what ran before; what is
# missing is started again, what does not answer is restarted once.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

credentials() {
  "$LIB_DIR/cubeos-generate-secrets.sh" || fail "the secrets could not be completed"
  export_config
}

running() { docker_get "/containers/cubeos-$1/json" | jq --exit-status .State.Running >/dev/null; }

core_service() {
  if ! running "$1"; then
    warn "$1 is not running: starting it"
    compose_up "$1"
  fi
}

stack() {
  if ! docker_exists "/services/$1_${1#cubeos-}"; then
    warn "stack $1 is lost: deploying it again"
    stack_deploy "$1"
  fi
}

core_services() { at_once core_service "${CORE_SERVICES[@]}"; }

stacks() { at_once stack "${STACKS[@]}"; }

restart_service() {
  case $1 in
    cubeos-*) timeout 120 docker service update --quiet --detach --force "$1_${1#cubeos-}" ;;
    *) compose "$1" restart ;;
  esac
}

services() {
  local service deadline=$((SECONDS + CUBEOS_HEALTH_TIMEOUT))
  for service in "${CORE_SERVICES[@]}" "${STACKS[@]}"; do
    if ! failed "$service" && ! wait_for $((deadline - SECONDS)) service_answers "$service"; then
      warn "$service does not answer after $CUBEOS_HEALTH_TIMEOUT s: restarting it"
      restart_service "$service" || warn "$service could not be restarted"
    fi
  done
  await_services
}

# By now they are their owner's, who may have changed the password as well.
proxy_hosts() { "$LIB_DIR/cubeos-proxy-hosts.sh" || warn "the names that lead to the services stay as they are"; }

log "normal boot"
stage credentials credentials
if wait_for_docker; then
  stage swarm swarm
  stage core-services core_services
  stage stacks stacks
  docker_up=yes
fi
stage network-mode network_mode
stage access-point access_point
if [[ ${docker_up:-} ]]; then
  stage services services
  stage proxy-hosts proxy_hosts
  lengthen_swarm_certificate
fi

if ((${#FAILURES[@]})); then
  printf 'CUBEOS: normal boot: %s\n' "${FAILURES[@]}" >&2
  die "normal boot ended with ${#FAILURES[@]} problem(s), see above"
fi
log "normal boot complete after $SECONDS s"
