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

swarm() {
  ensure_swarm
  ensure_swarm_secret cubeos_jwt_secret "${CUBEOS_JWT_SECRET:?}"
  ensure_swarm_secret cubeos_encryption_key "${CUBEOS_ENCRYPTION_KEY:?}"
}

core_services() {
  compose_up pihole "${PIHOLE_IMAGE:?}"
  compose_up npm "${NPM_IMAGE:?}"
  compose_up hal "${HAL_IMAGE:?}"
  await_service pihole
  await_service npm
  await_service hal
}

stacks() {
  stack_deploy cubeos-api "${API_IMAGE:?}"
  stack_deploy cubeos-dashboard "${DASHBOARD_IMAGE:?}"
  await_service cubeos-api
  await_service cubeos-dashboard
}

access_point() { "$LIB_DIR/cubeos-access-point.sh" || fail "the access point is not up"; }

network_mode() { "$LIB_DIR/cubeos-network-mode.sh" apply || fail "the network mode was not applied"; }

log "first boot"
stage credentials credentials
wait_for_docker
stage swarm swarm
stage core-services core_services
stage stacks stacks
stage network-mode network_mode
stage access-point access_point

if ((${#FAILURES[@]})); then
  printf 'CUBEOS: first boot: %s\n' "${FAILURES[@]}" >&2
  die "first boot is NOT complete: ${#FAILURES[@]} problem(s) above; the next boot tries again"
fi
date --utc +%FT%TZ | write_file "$FIRST_BOOT_MARKER" 0644
log "first boot complete after $SECONDS s"
