#!/bin/bash
# Tells Nginx Proxy Manager by its API which name leads to which service. What it
# knows already stays as it is, so its owner can change or disable it there.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

: "${CUBEOS_NPM_URL:=http://127.0.0.1:81}"

# api PATH: sends standard input, if there is a body, and prints the answer. The
# password and the token go by pipe: command lines can be read by every user.
api() {
  curl --silent --show-error --fail-with-body --max-time 60 \
    --retry 3 --retry-connrefused --retry-max-time "$CUBEOS_HEALTH_TIMEOUT" \
    --header 'Content-Type: application/json' --header @<(printf 'Authorization: Bearer %s\n' "${token:-none}") \
    "${@:2}" "$CUBEOS_NPM_URL/api$1"
}

# problem ANSWER: what the API says is wrong.
problem() { jq -r '.error.message // .' <<<"$1" 2>/dev/null || printf '%s' "$1"; }

# missing: those of the lines NAME PORT on standard input whose name is not known.
missing() {
  jq --raw-input --raw-output --slurpfile known <(printf '%s' "$known") \
    'select(split(" ")[0] as $name | $known[0] | any(.[].domain_names[]; ascii_downcase == $name) | not)'
}

# lead NAME PORT
lead() {
  local answer
  # WebSockets are how the dashboard hears of changes.
  if answer=$(jq --null-input --arg name "$1" --argjson port "$2" '{
      domain_names: [$name], forward_scheme: "http", forward_host: "127.0.0.1", forward_port: $port,
      allow_websocket_upgrade: true}' | api /nginx/proxy-hosts --data @-); then
    log "http://$1 leads to port $2"
  else
    fail "http://$1 could not be led to port $2: $(problem "$answer")"
  fi
}

export_config
if ! answer=$(jq --null-input '{identity: env.CUBEOS_NPM_EMAIL, secret: env.CUBEOS_NPM_PASSWORD}' | api /tokens --data @-); then
  die "Nginx Proxy Manager does not let us in ($(problem "$answer")): if its password was changed there, change CUBEOS_NPM_PASSWORD in /cubeos/config/secrets.env, too"
fi
token=$(jq --raw-output .token <<<"$answer")
known=$(api /nginx/proxy-hosts) || die "Nginx Proxy Manager does not tell its proxy hosts: $(problem "$known")"

names=$(jq --raw-output --arg domain "${CUBEOS_DOMAIN:?}" --arg address "${CUBEOS_ADDRESS:?}" \
  '.services[].http | .port as $port | .names[]?
    | split("{domain}") | join($domain) | split("{address}") | join($address)
    | "\(.) \($port)"' "$SERVICES_FILE")
todo=$(missing <<<"$names")
while read -r name port; do
  [[ -z $name ]] || lead "$name" "$port"
done <<<"$todo"
((${#FAILURES[@]} == 0)) || die "${#FAILURES[@]} name(s) do not lead to their service"
