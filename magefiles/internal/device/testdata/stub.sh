#!/bin/bash
# Stands in for the programs the boot scripts call; which one is its name. What
# they would have done is kept in files under $STUB_STATE, each change is a line
# of $STUB_STATE/effects, each call a line of $STUB_STATE/calls. When the call
# number is $STUB_DIE_AT, the power goes. The lock is held to the end: what two
# calls at the same time do to the files is done one after the other, so that the
# power goes between two changes and never within one.
set -Eeuo pipefail
PATH=/usr/sbin:/usr/bin:/sbin:/bin

name=${0##*/}
state=$STUB_STATE
exec 9>"$state/lock"
flock 9
printf '%s %s\n' "$name" "$*" >>"$state/calls"
mapfile -t calls <"$state/calls"
if [[ ${STUB_DIE_AT:-} == "${#calls[@]}" ]]; then
  kill -KILL -- "-$STUB_GROUP"
  exit 1 # what timeout(1) runs is in another group
fi

effect() { printf '%s\n' "$*" >>"$state/effects"; }
key() { printf '%s' "${1//\//_}"; }
needs() {
  if [[ -z ${!1:-} ]]; then
    echo "stub $name: variable $1 is not set" >&2
    exit 1
  fi
}
needs_image() {
  local variable=${1//-/_}_IMAGE
  needs "${variable^^}"
}
exists() { [[ -e $state/$1 ]]; }

# made_of APP: the app's compose file and what it refers to, as one word.
made_of() {
  local file=$CUBEOS_ROOT/cubeos/coreapps/$1/appconfig/docker-compose.yml variable
  {
    cat "$file"
    grep -oE '\$\{[A-Z_]+' "$file" | sort -u | while read -r variable; do
      variable=${variable#??}
      echo "$variable=${!variable:-}"
    done
  } | sha256sum
}

# makes KIND APP FILE: what there is for FILE, unless it is there and made of the same.
makes() {
  local made
  made=$(made_of "$2")
  if ! exists "$3" || [[ $(<"$state/$3") != "$made" ]]; then
    echo "$made" >"$state/$3"
    effect "$1 $2"
  fi
}

docker_compose() {
  local app verb args="$*"
  [[ $args =~ /coreapps/([a-z-]+)/appconfig/docker-compose.yml\ ([a-z]+) ]] || exit 64
  app=${BASH_REMATCH[1]} verb=${BASH_REMATCH[2]}
  needs_image "$app"
  needs CUBEOS_ADDRESS
  needs CUBEOS_PIHOLE_PASSWORD
  needs CUBEOS_NPM_EMAIL
  needs NPM_INITIAL_PASSWORD
  needs HAL_CORE_KEY
  case $verb in
    up)
      makes 'compose up' "$app" "containers/cubeos-${app#cubeos-}"
      if [[ $app == npm && ! -e $state/npm-users ]]; then
        mkdir "$state/npm-users"
        printf '%s' "$NPM_INITIAL_PASSWORD" >"$state/npm-users/$CUBEOS_NPM_EMAIL"
      fi
      ;;
    restart)
      effect "compose restart $app"
      rm -f "$state/sick/$app"
      ;;
  esac
}

docker_stack() {
  local stack=${!#} service
  service=${stack}_$stack
  needs_image "$stack"
  exists swarm || exit 1
  exists secrets/cubeos_jwt_secret || exit 1
  [[ $* == *"--resolve-image never"* ]] || exit 64
  makes 'stack deploy' "$stack" "services/$service"
}

stub_docker() {
  case "$1 ${2:-}" in
    image\ ls) (cd "$state/images" && find . -type f -printf '%f ' -exec sed 's|^docker.io/||' {} \;) ;;
    image\ inspect) exists "images/$(key "${!#}")" ;;
    image\ rm)
      rm -f "$state/images/$(key "${!#}")"
      effect "image rm ${!#}"
      ;;
    load\ *)
      read -r reference <"${!#}"
      if exists full; then
        echo 'no space left on device' >&2
        exit 1
      fi
      echo "$reference" >"$state/images/$(key "$reference")"
      effect "load $reference"
      ;;
    swarm\ init)
      [[ $* == *"--task-history-limit 1"* && $* == *"--advertise-addr 127.0.0.1"* ]] || exit 64
      if exists swarm; then exit 1; fi
      echo 'active true' >"$state/swarm"
      effect 'swarm init'
      ;;
    swarm\ leave)
      rm -rf "$state/swarm" "$state/services"/* "$state/secrets"/* "$state/orphans"/*
      effect 'swarm leave'
      ;;
    secret\ create)
      if exists "secrets/$3"; then exit 1; fi
      cat >"$state/secrets/$3"
      effect "secret create $3"
      ;;
    compose\ *) docker_compose "$@" ;;
    stack\ deploy) docker_stack "$@" ;;
    service\ update)
      local service=${!#}
      effect "service update $service"
      rm -f "$state/sick/${service%_*}"
      ;;
    ps\ *)
      if [[ $* == *--quiet* ]]; then
        (cd "$state" && find orphans containers -type f -printf '%f\n')
      elif exists ps; then
        cat "$state/ps"
      fi
      ;;
    logs\ *) cat "$state/logs-${!#}" ;;
    images\ * | service\ ls | node\ ls | info\ *) ;;
    rm\ *)
      local container
      for container in "${@:3}"; do
        [[ $container != -* ]] || continue
        rm -f "$state/orphans/$container" "$state/containers/$container"
        effect "rm $container"
      done
      ;;
    volume\ ls) find "$state/volumes" -type f -printf '%f\n' ;;
    volume\ rm) (cd "$state/volumes" && rm -f "${@:4}") ;;
    network\ prune | builder\ prune) ;;
    *) exit 64 ;;
  esac
}

# What Docker's API answers to a GET.
docker_api() {
  local path=${1#http://docker}
  if exists docker-broken || [[ -e $CUBEOS_ROOT/var/lib/docker/swarm/damaged ]]; then exit 7; fi
  case $path in
    /_ping) echo OK ;;
    /info)
      local node=inactive manager=false
      if exists swarm; then read -r node manager <"$state/swarm"; fi
      printf '{"Swarm": {"LocalNodeState": "%s", "ControlAvailable": %s}}\n' "$node" "$manager"
      ;;
    /networks/docker_gwbridge) cat "$state/bridge" ;;
    /nodes) [[ $(<"$state/swarm") == 'active true' ]] || exit 22 ;;
    /images/*) path=${path#/images/} && path=${path%/json} && { exists "images/$(key "$path")" || exit 22; } ;;
    /secrets/* | /services/*) exists "${path#/}" || exit 22 ;;
    /containers/json*) (cd "$state/orphans" && find . -type f -printf '{"Id": "%f"}\n') | jq -s . ;;
    /containers/*)
      path=${path#/containers/}
      exists "containers/${path%/json}" || exit 22
      echo '{"State": {"Running": true}}'
      ;;
    *) exit 64 ;;
  esac
}

# What Nginx Proxy Manager's API answers. Its users are files that hold their
# passwords, its proxy hosts files as it tells them; those of the names in
# $STUB_STATE/npm-rejects are what nginx would not have.
npm_api() {
  local url=${!#} body='' method=GET arg header='' all="$* "
  for arg; do
    if [[ $arg == @/* ]]; then read -r header <"${arg#@}"; fi
  done
  if [[ $all == *'--data @- '* ]]; then body=$(cat) method=POST; fi
  if [[ $all =~ --request\ ([A-Z]+) ]]; then method=${BASH_REMATCH[1]}; fi
  local users=$state/npm-users hosts=$state/proxy-hosts name
  if [[ $url != */tokens && $header != 'Authorization: Bearer t-'* ]]; then npm_refuses 'Permission Denied'; fi
  case "$method ${url#*/api}" in
    'POST /tokens')
      name=$(jq -r .identity <<<"$body")
      [[ -e $users/$name && $(<"$users/$name") == "$(jq -r .secret <<<"$body")" ]] || npm_refuses 'Invalid email or password'
      printf '{"token": "t-%s"}\n' "$name"
      ;;
    'GET /users') (cd "$users" && find . -type f -printf '{"id": "%i", "email": "%f"}\n') | jq -s 'map(.id |= tonumber)' ;;
    'POST /users')
      jq -e 'keys == ["auth", "email", "is_disabled", "name", "nickname", "roles"]' <<<"$body" >/dev/null || npm_refuses 'data must NOT have additional properties'
      name=$(jq -r .email <<<"$body")
      jq -j .auth.secret <<<"$body" >"$users/$name"
      effect "npm user $name"
      ;;
    'PUT /users/'*/auth)
      name=$(find "$users" -inum "$(basename "${url%/auth}")" -printf %f)
      jq -j .secret <<<"$body" >"$users/$name"
      effect "npm password $name"
      ;;
    'GET /nginx/proxy-hosts') find "$hosts" -type f -exec cat {} + | jq -s . ;;
    'POST /nginx/proxy-hosts')
      name=$(jq -r '.domain_names[0]' <<<"$body")
      npm_host "$name" "$(find "$hosts" -type f | wc -l)" <<<"$body" >"$hosts/$name"
      effect "proxy host $name $(jq .forward_port <<<"$body")"
      jq '.meta = {}' "$hosts/$name"
      ;;
    'PUT /nginx/proxy-hosts/'*)
      name=$(jq -r '.domain_names[0]' <<<"$body")
      npm_host "$name" "${url##*/}" <<<"$body" >"$hosts/$name"
      effect "proxy host again $name"
      ;;
    *) exit 64 ;;
  esac
}

npm_refuses() {
  printf '{"error": {"message": "%s"}}\n' "$1"
  exit 22
}

npm_host() {
  local error=null
  if exists npm-rejects && grep -qxF "$1" "$state/npm-rejects"; then error='"[emerg] no"'; fi
  jq --argjson id "$2" --argjson error "$error" '. + {id: $id, enabled: true, meta: {nginx_online: ($error == null), nginx_err: $error}}'
}

# What the API answers: the password of its account admin is in
# $STUB_STATE/dashboard, or cubeos.
api_api() {
  local body password=cubeos
  body=$(cat)
  if exists dashboard; then password=$(<"$state/dashboard"); fi
  case ${!#} in
    */login)
      [[ $(jq -r '"\(.username) \(.password)"' <<<"$body") == "admin $password" ]] || exit 22
      echo '{"access_token": "t"}'
      ;;
    */password)
      [[ $(jq -r .current_password <<<"$body") == "$password" ]] || exit 22
      jq -j .new_password <<<"$body" >"$state/dashboard"
      effect 'dashboard password'
      ;;
    *) exit 64 ;;
  esac
}

# What the API answers about its network mode.
api_network_mode() {
  local body
  case "$* " in
    *"--data @- "*) body=$(cat) ;;
  esac
  if ! exists api-mode; then exit 7; fi
  if [[ ${body:-} ]]; then
    effect "API told $(jq --compact-output . <<<"$body")"
    jq --raw-output .mode <<<"$body" >"$state/api-mode"
  fi
  printf '{"mode": "%s"}\n200' "$(<"$state/api-mode")"
}

stub_curl() {
  local url app runs
  case ${!#} in
    http://docker/*)
      docker_api "${!#}"
      return
      ;;
    */api/v1/network/mode)
      api_network_mode "$@"
      return
      ;;
    *:6010/api/v1/auth/*)
      api_api "$@"
      return
      ;;
    *:81/api/?*)
      npm_api "$@"
      return
      ;;
  esac
  # URL NAME and what has to be there for it to answer.
  while read -r url app runs; do
    if [[ $url == "${!#}" ]]; then
      if exists "sick/$app"; then exit 22; fi
      exists "$runs"
      return
    fi
  done <"$state/services.txt"
  exit 64
}

# -w 10 -t TABLE -C|-I|-D|-F|-X|-n|-S CHAIN …; others' rules are in foreign-TABLE.
stub_iptables() {
  local jump=jump-$name-$4-${!#} chain=chain-$name-$4-${!#}
  case "$5 $*" in
    -C\ *) exists "$jump" ;;
    -I\ *)
      : >"$state/$jump"
      effect "jump $name $4 ${!#}"
      ;;
    -S\ *)
      if [[ ${!#} == DOCKER* ]]; then grep -q "^:${!#} " "$state/docker-$4"; fi
      if exists "docker-$4"; then grep "^-A ${!#} " "$state/docker-$4" || true; fi
      if exists "foreign-$4"; then cat "$state/foreign-$4"; fi
      ;;
    *" -j MASQUERADE")
      grep -vxF -- "-A ${*:6}" "$state/foreign-$4" >"$state/foreign-$4.new" || true
      mv "$state/foreign-$4.new" "$state/foreign-$4"
      effect "no rule ${*:6}"
      ;;
    -D\ *) rm "$state/$jump" ;;
    -F\ * | -n\ *) exists "$chain" ;;
    -X\ *)
      rm "$state/$chain"
      effect "no $name $4 ${!#}"
      ;;
    *) exit 64 ;;
  esac
}

# A wpa_supplicant is its socket.
stub_wpa_cli() {
  local socket=$CUBEOS_ROOT/run/wpa_supplicant/$2
  [[ -e $socket ]] || exit 255
  case $3 in
    terminate) rm "$socket" ;;
    reconnect) ;;
    *) exit 64 ;;
  esac
  effect "wpa_supplicant $2: $3"
}

stub_systemctl() {
  case "$1 ${2:-}" in
    'show --property') if exists init; then cat "$state/init"; else echo active; fi ;;
    'list-units --failed') if exists failed; then cat "$state/failed"; fi ;;
    'is-active --quiet') exists "${3%.service}" ;;
    'start hostapd.service' | 'restart hostapd.service')
      if exists hostapd && [[ $1 == start ]]; then return; fi
      cp "$CUBEOS_ROOT/etc/hostapd/hostapd.conf" "$CUBEOS_ROOT/run/cubeos/hostapd.conf"
      : >"$state/hostapd"
      effect "hostapd $1"
      ;;
    'restart wpa_supplicant@wlan1.service')
      if [[ -e $CUBEOS_ROOT/run/wpa_supplicant/wlan1 ]] && ! exists wpa_supplicant@wlan1; then exit 1; fi
      mkdir -p "$CUBEOS_ROOT/run/wpa_supplicant"
      : >"$CUBEOS_ROOT/run/wpa_supplicant/wlan1"
      : >"$state/wpa_supplicant@wlan1"
      effect 'wpa_supplicant wlan1: restart'
      ;;
    stop\ cubeos-*.path) ;;
    reboot\ ) effect reboot ;;
    restart\ docker.service)
      rm -f "$state/docker-broken"
      if exists docker-rules; then cp "$state/docker-rules"/docker-* "$state"; fi
      effect 'systemctl restart docker'
      ;;
    'restart cubeos-network-request.service' | 'restart avahi-daemon.service') effect "restart $2" ;;
    'restart --no-block') effect "restart $3" ;;
    'show --property=ActiveState')
      if (docker_api http://docker/_ping >/dev/null); then echo active; else echo failed; fi
      ;;
    'show --property=NRestarts') echo 0 ;;
    'show --property=ActiveState,InactiveExitTimestampMonotonic') cat "$state/init-runs" ;;
    'stop --no-block') effect "stop $3" ;;
    'stop hostapd.service')
      effect 'hostapd stop'
      rm -f "$state/hostapd"
      ;;
    'restart cubeos-access-point.service')
      effect 'access point again'
      if [[ -e $CUBEOS_ROOT/sys/class/net/wlan0 ]]; then : >"$state/hostapd"; fi
      ;;
    'stop cubeos-init.service') effect 'stop cubeos-init' ;;
    'start --no-block')
      case $3 in
        docker.service) effect 'systemctl start docker' ;;
        *) effect "start $3" ;;
      esac
      ;;
    stop\ docker.s* | start\ docker.service | reset-failed\ docker.service)
      effect "systemctl $1 docker"
      ;;
    *) exit 64 ;;
  esac
}

case $name in
  docker) stub_docker "$@" ;;
  curl) stub_curl "$@" ;;
  wpa_cli) stub_wpa_cli "$@" ;;
  systemctl) stub_systemctl "$@" ;;
  iptables | ip6tables) stub_iptables "$@" ;;
  iptables-restore | ip6tables-restore)
    rules=$(cat)
    if [[ $rules == *:CUBEOS* ]]; then echo "$rules" >"$state/rules-${name%-restore}"; fi
    while read -r line; do
      case $line in
        \**) table=${line#?} ;;
        :DOCKER* | -A\ [!C]*)
          if exists cannot-restore; then exit 1; fi
          echo "$line" >>"$state/docker-$table"
          ;;
        :*)
          line=${line%% *}
          : >"$state/chain-${name%-restore}-$table-${line#:}"
          ;;
      esac
    done <<<"$rules"
    ;;
  iptables-save)
    if exists "docker-$2"; then cat "$state/docker-$2"; fi
    echo "-A INPUT -j CUBEOS-INPUT"
    ;;
  fstrim) ;;
  mv | rm | tar) exec "/usr/bin/$name" "$@" ;;
  agetty) effect 'login prompt' ;;
  journalctl) if [[ $1 == --boot ]] && exists journal; then cat "$state/journal"; fi ;;
  ip) if exists eth0; then cat "$state/eth0"; fi ;;
  mountpoint) [[ -d ${!#} ]] ;;
  iw | rfkill | sync) ;;
  getent) grep "^$2:" "$state/$1" ;;
  id)
    case $1 in
      -un) echo cubeos ;;
      -nG) sed -n "s/^$2: //p" "$state/groups" ;;
    esac
    ;;
  visudo) grep -Eqx '([a-z-]+ ALL=\(ALL:ALL\) NOPASSWD: ALL)?' ;;
  usermod) effect "usermod $*" ;;
  python3)
    cat >/dev/null
    if exists python3; then cat "$state/python3"; fi
    ;;
  findmnt) echo "$STUB_ROOT_DEVICE" ;;
  growpart)
    effect "growpart $*"
    if [[ -e $state/growpart-status ]]; then exit "$(<"$state/growpart-status")"; fi
    ;;
  resize2fs) effect "resize2fs $*" ;;
  *) exit 64 ;;
esac
