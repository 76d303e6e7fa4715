#!/bin/bash
# The API has a first account built in, admin with the password cubeos. Once set-up
# is complete that password opens it no longer, unless it is the one on record: who
# skips the wizard of a device with random passwords, or takes another name there,
# leaves it as it was. The API changes no password before that.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

: "${CUBEOS_API_URL:=http://127.0.0.1:6010}"

# api PATH: sends standard input and prints the answer.
api() {
  curl --silent --fail-with-body --max-time 60 --header 'Content-Type: application/json' \
    --header @<(printf 'Authorization: Bearer %s\n' "${token:-none}") --data @- "$CUBEOS_API_URL/api/v1/auth/$1"
}

export_config
if [[ ! -e $SETUP_COMPLETE || ${CUBEOS_PIHOLE_PASSWORD:?} == cubeos ]]; then
  exit 0
fi
wait_for "$CUBEOS_HEALTH_TIMEOUT" answers "$CUBEOS_API_URL/health" || die "the API does not answer: the Dashboard may still be opened by the password cubeos"
if ! token=$(jq --null-input '{username: "admin", password: "cubeos"}' | api login | jq --exit-status --raw-output .access_token); then
  exit 0
fi
answer=$(jq --null-input '{current_password: "cubeos", new_password: env.CUBEOS_PIHOLE_PASSWORD}' | api password) \
  || die "the Dashboard is still opened by the password cubeos: $(jq --raw-output '.error // .' <<<"$answer" 2>/dev/null || printf '%s' "$answer")"
log "the Dashboard's account admin has the password that is on record"
