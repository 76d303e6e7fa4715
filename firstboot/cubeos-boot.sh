#!/bin/bash
# Brings up the device: credentials, Swarm, services, network, access point.
#   cubeos-boot first     until one boot has gone through to its end: each step
#                         looks at what is there already, so a boot after a power
#                         cut goes on where that one stopped
#   cubeos-boot normal    afterwards: Docker has restarted what ran before; what
#                         is missing is started again, what does not answer is
#                         restarted once
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

mode=${1:-}
[[ $mode == first || $mode == normal ]] || die "usage: cubeos-boot first|normal"

credentials() {
  "$LIB_DIR/cubeos-generate-secrets.sh" || fail "the secrets could not be made"
  export_config
}

running() { docker_get "/containers/$(container_of "$1")/json" | jq --exit-status .State.Running >/dev/null; }

compose_service() {
  if [[ $mode == normal ]]; then
    ! running "$1" || return 0
    warn "$1 is not running: starting it"
  fi
  compose_up "$1"
}

stack() {
  if [[ $mode == normal ]]; then
    ! docker_exists "/services/$(swarm_service_of "$1")" || return 0
    warn "stack $1 is lost: deploying it again"
  fi
  stack_deploy "$1"
}

compose_services() { at_once compose_service "${COMPOSE_SERVICES[@]}"; }

stacks() { at_once stack "${STACKS[@]}"; }

# One that was just made is given time, not a restart.
services() {
  if [[ $mode == normal ]]; then
    restart_silent_services
  fi
  await_services
}

# Once the device has been set up the names are their owner's, who may have
# changed the proxy's password as well.
proxy_hosts() {
  if "$LIB_DIR/cubeos-proxy-hosts.sh"; then
    return
  elif [[ $mode == normal ]]; then
    warn "the names that lead to the services stay as they are"
  else
    fail "http://$CUBEOS_DOMAIN does not lead to the dashboard"
  fi
}

log "$mode boot"
read_services
stage credentials credentials
if wait_for_docker; then
  stage swarm swarm
  stage core-services compose_services
  stage stacks stacks
  docker_up=yes
fi
stage network-mode network_mode
stage access-point access_point
# Last, so that the access point does not wait for the slowest of them.
if [[ ${docker_up:-} ]]; then
  stage services services
  # Without Nginx Proxy Manager there is nobody to tell the names to.
  failed npm || stage proxy-hosts proxy_hosts
  lengthen_swarm_certificate
fi

if ((${#FAILURES[@]})); then
  printf "CUBEOS: $mode boot: %s\n" "${FAILURES[@]}" >&2
  die "$mode boot is NOT complete: ${#FAILURES[@]} problem(s) above; the next boot tries again"
fi
if [[ $mode == first ]]; then
  date --utc +%FT%TZ | write_file "$FIRST_BOOT_MARKER" 0644
fi
log "$mode boot complete after $SECONDS s: http://$CUBEOS_DOMAIN or http://$CUBEOS_ADDRESS"
