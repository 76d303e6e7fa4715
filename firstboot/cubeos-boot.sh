#!/bin/bash
# Brings up the device: credentials, Swarm, services, network, access point.
#   cubeos-boot first     until one boot has gone through to its end: each step
#                         looks at what is there already, so a boot after a power
#                         cut goes on where that one stopped
#   cubeos-boot normal    afterwards: Docker has restarted what ran before; what
#                         is missing or was made of other settings is made again,
#                         what does not answer is restarted once
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

mode=${1:-}
[[ $mode == first || $mode == normal ]] || die "usage: cubeos-boot first|normal"

# The API changes defaults.env in place: a power cut can leave it empty, and the
# API does not start without it.
restore_defaults() {
  local file=$CONFIG_DIR/defaults.env lost
  lost=$(lost_settings "$file" "$DEFAULTS_FILE")
  if [[ $lost ]]; then
    warn "defaults.env had lost $(cut -d = -f 1 <<<"$lost" | xargs): as they are in the image"
    {
      [[ ! -f $file ]] || awk 1 "$file"
      printf '%s\n' "$lost"
    } | write_file "$file" 0644
  fi
}

credentials() {
  restore_defaults || fail "defaults.env could not be restored"
  "$LIB_DIR/cubeos-generate-secrets.sh" || fail "the secrets could not be made"
  secrets_digest >"$SECRETS_IN_FORCE" || fail "there is no secrets.env"
  export_config
}

running() { docker_get "/containers/$(container_of "$1")/json" | jq --exit-status .State.Running >/dev/null; }

# A container that Docker has started without them has not got as far as to answer.
pihole_files() {
  local made
  made=$("$LIB_DIR/cubeos-pihole-files.sh") || fail "Pi-hole does not have all its files"
  if [[ $made ]]; then
    printf '%s\n' "$made"
    if running pihole; then
      restart_service pihole || warn "pihole could not be restarted"
    fi
  fi
}

compose_service() {
  if [[ $1 == pihole ]]; then
    pihole_files
  fi
  if [[ $mode == normal ]] && ! running "$1"; then
    warn "$1 is not running: starting it"
  fi
  compose_up "$1"
}

stack() {
  if [[ $mode == normal ]] && ! docker_exists "/services/$(swarm_service_of "$1")"; then
    warn "stack $1 is lost: deploying it again"
  fi
  if [[ $1 == cubeos-api && ${npm_started:-} ]]; then
    npm_account
  fi
  stack_deploy "$1"
}

compose_services() {
  at_once compose_service "${COMPOSE_SERVICES[@]}"
  failed npm || npm_started=yes
}

# Without an account of its own there the API tries for a minute before it answers.
npm_account() {
  if ! wait_for "$CUBEOS_HEALTH_TIMEOUT" service_answers npm; then
    warn "the API starts without Nginx Proxy Manager, which does not answer"
  elif "$LIB_DIR/cubeos-npm-account.sh"; then
    return
  elif [[ $mode == normal ]]; then
    warn "the API can not administer Nginx Proxy Manager"
  else
    fail "the API can not administer Nginx Proxy Manager"
  fi
}

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
trap 'note_stage "done"' EXIT
note_stage waiting
lock_services
read_services
stage credentials credentials
# Before the services are there, so that none of their ports is ever open to those
# who must not reach it.
stage network-mode network_mode
if wait_for_docker; then
  stage swarm swarm
  stage core-services compose_services
  docker_up=yes
fi
# It needs Pi-hole and does not wait for what comes after.
stage access-point access_point
if [[ ${docker_up:-} ]]; then
  stage stacks stacks
  stage services services
  # Without Nginx Proxy Manager there is nobody to tell the names to.
  [[ -z ${npm_started:-} ]] || failed npm || stage proxy-hosts proxy_hosts
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
