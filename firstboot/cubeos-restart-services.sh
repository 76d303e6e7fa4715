#!/bin/bash
# Starts Docker and all services again, and then does what a boot does: whatever is
# missing is made. A boot that is stuck is ended for that.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# restart NAME
restart() {
  log "restarting $1"
  restart_service "$1" || warn "$1 can not be restarted: it is made again if it is missing"
}

timeout 120 systemctl stop cubeos-init.service || warn "the boot that runs does not end"
if ! docker_answers; then
  log "Docker does not answer: restarting it"
  timeout 180 systemctl restart docker.service || warn "Docker does not start: see 'journalctl -u docker'"
fi
export_config
read_services
if docker_answers; then
  at_once restart "${COMPOSE_SERVICES[@]}" "${STACKS[@]}"
fi
systemctl start --no-block cubeos-init.service
log "what is missing is made now, as in a boot"
((${#FAILURES[@]} == 0))
