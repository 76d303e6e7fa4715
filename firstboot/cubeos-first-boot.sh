#!/bin/bash
# The first boot: credentials, Swarm, services, access point. Each step looks at
# what is there already, so a boot after a power cut goes on where this one
# stopped; the marker at the end makes the next boot a normal one.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

credentials() {
  "$LIB_DIR/cubeos-generate-secrets.sh" || fail "the secrets could not be made"
  export_config
}

core_services() { at_once compose_up "${CORE_SERVICES[@]}"; }

stacks() { at_once stack_deploy "${STACKS[@]}"; }

proxy_hosts() { "$LIB_DIR/cubeos-proxy-hosts.sh" || fail "http://$CUBEOS_DOMAIN does not lead to the dashboard"; }

log "first boot"
stage credentials credentials
if wait_for_docker; then
  stage swarm swarm
  stage core-services core_services
  stage stacks stacks
  docker_up=yes
fi
stage network-mode network_mode
stage access-point access_point
# Last, so that the access point does not wait for the slowest of them.
if [[ ${docker_up:-} ]]; then
  stage services await_services
  # Without Nginx Proxy Manager there is nobody to tell the names to.
  failed npm || stage proxy-hosts proxy_hosts
  lengthen_swarm_certificate
fi

if ((${#FAILURES[@]})); then
  printf 'CUBEOS: first boot: %s\n' "${FAILURES[@]}" >&2
  die "first boot is NOT complete: ${#FAILURES[@]} problem(s) above; the next boot tries again"
fi
date --utc +%FT%TZ | write_file "$FIRST_BOOT_MARKER" 0644
log "first boot complete after $SECONDS s: http://$CUBEOS_DOMAIN or http://$CUBEOS_ADDRESS"
