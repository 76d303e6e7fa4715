#!/bin/bash
# Tells the API which network mode is in force, where it has another one in mind: the
# Dashboard shows what the API has, and Pi-hole gives out addresses by it. Not telling
# it costs no more than that, so nothing here is an error.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

: "${CUBEOS_API_URL:=http://127.0.0.1:6010}"

# token: what the API gives to whoever logs in. It takes any that is signed with its
# secret and not yet over.
token() {
  python3 - <<'PYTHON'
import base64, hashlib, hmac, json, os, time

def part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")

now = int(time.time())
header = {"alg": "HS256", "typ": "JWT"}
claims = {"username": "admin", "role": "admin", "sub": "admin", "iat": now, "exp": now + 60}
text = b".".join(part(json.dumps(each).encode()) for each in (header, claims))
print((text + b"." + part(hmac.digest(os.environ["JWT_SECRET"].encode(), text, "sha256"))).decode())
PYTHON
}

# api OPTION…: asks for the network mode, or sets it; fills status and answer. The
# token goes by pipe: command lines can be read by every user.
api() {
  local out
  out=$(curl --silent --show-error --max-time 100 --write-out '\n%{http_code}' \
    --header 'Content-Type: application/json' --header @<(printf 'Authorization: Bearer %s\n' "$token") \
    "$@" "$CUBEOS_API_URL/api/v1/network/mode") || out=$'no connection\n000'
  status=${out##*$'\n'} answer=${out%$'\n'*}
}

give_up() {
  warn "$1: the Dashboard may show another network mode than $mode until the next boot"
  exit 0
}

# body NAME [WIFI KEY]: what the API is sent. The key is not to be in a command line.
body() {
  mode=$1 ssid=${2:-} password=${3:-} jq --null-input \
    '{mode: env.mode, ssid: env.ssid, password: env.password} | with_entries(select(.value != ""))'
}

# Until it has been set up it takes no orders, and has the mode of a device as built.
[[ -e $ROOT/cubeos/data/.setup_complete ]] || exit 0
export_config
mode=$(cat "$RUN_DIR/network-mode" 2>/dev/null) || mode=none
case $mode in
  OFFLINE) name=offline_hotspot ;;
  ONLINE_ETH) name=wifi_router ;;
  ONLINE_WIFI) name=wifi_bridge ;;
  *) exit 0 ;;
esac
[[ ${JWT_SECRET:-} ]] || give_up "secrets.env has no JWT_SECRET"
token=$(token) || give_up "no token for the API could be made"

api --retry 5 --retry-connrefused
[[ $status == 200 ]] || give_up "the API does not tell its network mode ($status: $answer)"
theirs=$(jq --raw-output .mode <<<"$answer") || give_up "the API's network mode can not be understood: $answer"
if [[ $theirs == "$name" ]]; then
  exit 0
fi

wifi='' key=''
if [[ $mode == ONLINE_WIFI ]]; then
  networks=$(wifi_networks)
  if [[ -z $networks || $networks == *$'\n'* ]]; then
    give_up "the API knows of one network for wlan1, and there are $(grep -c . <<<"$networks")"
  fi
  wifi=$(unhex "${networks%% *}") key=${networks#* }
  if [[ $key == \"*\" ]]; then
    key=${key:1:-1}
  fi
fi
body=$(body "$name" "$wifi" "$key")
api --data @- <<<"$body"
[[ $status == 200 ]] || give_up "the API does not take over the network mode ($status: $answer)"
log "the API had the network mode $theirs and has $name now"
