#!/bin/bash
# Puts in force what the API has written into secrets.env: services that are made
# of a secret that has changed are made again. Runs when the file has changed or
# set-up is complete, and at the end of each boot, in case that happened meanwhile.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# In seconds: how long the wizard may take to its end after it has set passwords,
# and how long it may still be answering after that.
: "${CUBEOS_WIZARD_TIMEOUT:=180}" "${CUBEOS_SETTLE:=15}"

new() { [[ $(secrets_digest) != "$(cat "$SECRETS_IN_FORCE" 2>/dev/null)" ]]; }

# The wizard sets Pi-hole's password and goes on to ask Pi-hole, with the one from
# before. Where it got stuck, what it has set is in force nevertheless.
settle() {
  local seen=
  until [[ $seen == "$(secrets_digest)" ]]; do
    seen=$(secrets_digest)
    if ! wait_for "$CUBEOS_WIZARD_TIMEOUT" test -e "$SETUP_COMPLETE"; then
      log "set-up is not complete $CUBEOS_WIZARD_TIMEOUT s after secrets.env has changed"
    fi
    sleep "$CUBEOS_SETTLE"
  done
}

changed=
while new; do
  log "secrets.env has changed"
  changed=yes
  settle
  lock_services
  "$LIB_DIR/cubeos-generate-secrets.sh" || fail "the secrets are not complete"
  digest=$(secrets_digest)
  export_config
  read_services
  at_once compose_up "${COMPOSE_SERVICES[@]}"
  at_once stack_deploy "${STACKS[@]}"
  unlock_services
  ((${#FAILURES[@]} == 0)) || die "not everything has its new secrets; the next boot tries again"
  echo "$digest" >"$SECRETS_IN_FORCE"
done
"$LIB_DIR/cubeos-dashboard-password.sh"
[[ -z $changed ]] || systemctl start --no-block cubeos-banner.service
