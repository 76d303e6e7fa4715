#!/bin/bash
# Sees to it that the API, and what runs here, can administer Nginx Proxy Manager
# whatever its owner does with the administrator's account: by one of their own.
# The API looks for it when it starts, and can not make it itself.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# tell METHOD PATH BODY: a change, of which only the success is of interest.
tell() { answer=$(npm_api "$2" --request "$1" --data @- <<<"$3"); }

export_config
if npm_log_in "$NPM_ACCOUNT" "${NPM_API_PASSWORD:?}"; then
  exit 0
fi
npm_log_in "${CUBEOS_NPM_EMAIL:?}" "${CUBEOS_NPM_PASSWORD:?}" \
  || die "Nginx Proxy Manager lets in neither $NPM_ACCOUNT nor $CUBEOS_NPM_EMAIL ($npm_problem): if the password was changed there, change CUBEOS_NPM_PASSWORD in /cubeos/config/secrets.env, too"

auth=$(jq --null-input '{type: "password", secret: env.NPM_API_PASSWORD}')
answer=$(npm_api /users) || die "Nginx Proxy Manager does not tell its users: $(npm_error "$answer")"
id=$(jq --raw-output --arg email "$NPM_ACCOUNT" '.[] | select(.email == $email).id' <<<"$answer")
if [[ $id ]]; then
  tell PUT "/users/$id/auth" "$auth" || die "$NPM_ACCOUNT could not be given its password: $(npm_error "$answer")"
else
  tell POST /users "$(jq --arg email "$NPM_ACCOUNT" \
    '{name: "CubeOS API", nickname: "API", email: $email, roles: ["admin"], is_disabled: false, auth: .}' <<<"$auth")" \
    || die "$NPM_ACCOUNT could not be made: $(npm_error "$answer")"
fi
npm_log_in "$NPM_ACCOUNT" "$NPM_API_PASSWORD" || die "Nginx Proxy Manager does not let in $NPM_ACCOUNT: $npm_problem"
log "$NPM_ACCOUNT administers Nginx Proxy Manager"
