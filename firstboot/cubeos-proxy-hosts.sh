#!/bin/bash
# Tells Nginx Proxy Manager by its API which name leads to which service. What it
# knows already stays as it is, so its owner can change or disable it there; only
# what nginx would not have is tried again.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# ask: sets known to the proxy hosts that there are.
ask() { known=$(npm_api /nginx/proxy-hosts) || die "Nginx Proxy Manager does not tell its proxy hosts: $(npm_error "$known")"; }

# missing: those of the lines NAME PORT on standard input whose name is not known.
missing() {
  jq --raw-input --raw-output --slurpfile known <(printf '%s' "$known") \
    'select(split(" ")[0] as $name | $known[0] | any(.[].domain_names[]; ascii_downcase == $name) | not)'
}

# rejected: which of the names on standard input nginx rejects: ID NAME ERROR. The
# answer to a request that makes a host does not tell.
rejected() {
  jq --raw-input --raw-output --slurpfile known <(printf '%s' "$known") \
    'split(" ")[0] as $name | $known[0][]
      | select(.enabled and .meta.nginx_online == false and any(.domain_names[]; ascii_downcase == $name))
      | [.id, $name, (.meta.nginx_err // "it does not say why")] | @tsv'
}

# lead NAME PORT
lead() {
  local answer
  # WebSockets are how the dashboard hears of changes.
  if answer=$(jq --null-input --arg name "$1" --argjson port "$2" '{
      domain_names: [$name], forward_scheme: "http", forward_host: "127.0.0.1", forward_port: $port,
      allow_websocket_upgrade: true}' | npm_api /nginx/proxy-hosts --data @-); then
    log "http://$1 leads to port $2"
  else
    fail "http://$1 could not be led to port $2: $(npm_error "$answer")"
  fi
}

# again ID NAME: a host that is changed, be it to what it is, is tried again.
again() {
  local answer
  answer=$(jq --argjson id "$1" '.[] | select(.id == $id)
      | {domain_names, forward_scheme, forward_host, forward_port}' <<<"$known" | npm_api "/nginx/proxy-hosts/$1" --request PUT --data @-) \
    || warn "http://$2 could not be tried again: $(npm_error "$answer")"
}

export_config
npm_log_in "$NPM_ACCOUNT" "${NPM_API_PASSWORD:?}" || die "Nginx Proxy Manager does not let in $NPM_ACCOUNT: $npm_problem"
ask
names=$(jq --raw-output --arg domain "${CUBEOS_DOMAIN:?}" --arg address "${CUBEOS_ADDRESS:?}" \
  '.services[].http | .port as $port | .names[]?
    | split("{domain}") | join($domain) | split("{address}") | join($address)
    | "\(.) \($port)"' "$SERVICES_FILE")
todo=$(missing <<<"$names")
while read -r name port; do
  [[ -z $name ]] || lead "$name" "$port"
done <<<"$todo"

[[ -z $todo ]] || ask
bad=$(rejected <<<"$names")
if [[ $bad ]]; then
  while IFS=$'\t' read -r id name _; do again "$id" "$name"; done <<<"$bad"
  ask
  bad=$(rejected <<<"$names")
  while IFS=$'\t' read -r _ name reason; do
    [[ -z $name ]] || fail "http://$name does not lead to its service: nginx rejects it: $reason"
  done <<<"$bad"
fi
((${#FAILURES[@]} == 0)) || die "${#FAILURES[@]} name(s) do not lead to their service"
