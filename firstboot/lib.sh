#!/bin/bash
# What the boot scripts share; sourced, never run. CUBEOS_ROOT puts every path
# below another root, so that the scripts can be tested without a device:
# magefiles/internal/device does that.
# shellcheck disable=SC2034 # the scripts use the paths
set -Eeuo pipefail
export LC_ALL=C.UTF-8

ROOT=${CUBEOS_ROOT:-}
LIB_DIR=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
CONFIG_DIR=$ROOT/cubeos/config
COREAPPS_DIR=$ROOT/cubeos/coreapps
STATE_DIR=$ROOT/var/lib/cubeos
IMAGES_DIR=$STATE_DIR/images
RUN_DIR=$ROOT/run/cubeos
BOOT_DIR=$ROOT/boot/firmware
# defaults.env as the image has it.
DEFAULTS_FILE=$ROOT/usr/local/share/cubeos/defaults.env
SERVICES_FILE=$ROOT/usr/local/share/cubeos/services.json
WLAN1_CONF=$ROOT/etc/wpa_supplicant/wpa_supplicant-wlan1.conf
# The API makes it when the wizard was completed or skipped.
SETUP_COMPLETE=$ROOT/cubeos/data/.setup_complete
FIRST_BOOT_MARKER=$STATE_DIR/first-boot-complete
STAGE_FILE=$RUN_DIR/stage
# As long as it is there, the device is to be reset.
FACTORY_RESET_MARKER=$STATE_DIR/factory-reset

# What a key or password looks like that was made here: no person's choice is shown.
RANDOM_KEY='^[a-z2-9]{4}(-[a-z2-9]{4}){3}$'

# Longest waits, in seconds. POLL is the time between two looks.
: "${CUBEOS_POLL:=0.5}" "${CUBEOS_DOCKER_TIMEOUT:=180}" "${CUBEOS_SWARM_TIMEOUT:=90}"
: "${CUBEOS_HEALTH_TIMEOUT:=180}"

FAILURES=()

log() { printf 'CUBEOS: %s\n' "$*"; }

warn() { printf 'CUBEOS: WARNING: %s\n' "$*" >&2; }

die() {
  printf 'CUBEOS: ERROR: %s\n' "$*" >&2
  exit 1
}

# Says that something did not work and goes on: a service that is down is no
# reason to keep the others and the access point from starting.
fail() {
  printf 'CUBEOS: ERROR: %s\n' "$*" >&2
  FAILURES+=("$*")
}

# uptime_seconds: since the kernel has started, whatever the clock is set to.
uptime_seconds() {
  local seconds
  read -r seconds _ <"$ROOT/proc/uptime"
  printf '%s' "${seconds%.*}"
}

# note_stage NAME: what the boot is at, and since which second of uptime, for whoever
# wants to know why it takes so long. It is done at its end, however that was.
note_stage() {
  if ! {
    install -d -m 0755 "$RUN_DIR" \
      && printf '%s %s\n' "$1" "$(uptime_seconds)" >"$STAGE_FILE.new" \
      && mv -f "$STAGE_FILE.new" "$STAGE_FILE"
  }; then
    warn "${STAGE_FILE#"$ROOT"} can not be written"
  fi
}

# stage_now: as in "swarm for 4 min"; fails when no boot is at anything.
stage_now() {
  local name since
  read -r name since 2>/dev/null <"$STAGE_FILE" && [[ $name != "done" ]] || return 1
  printf '%s for %s' "$name" "$(duration $(($(uptime_seconds) - since)))"
}

# duration SECONDS: for people.
duration() { if (($1 < 120)); then printf '%s s' "$1"; else printf '%s min' $(($1 / 60)); fi; }

# stage NAME COMMAND…: runs a step between two markers that say how long it took.
stage() {
  local name=$1 began=$SECONDS before=${#FAILURES[@]}
  shift
  note_stage "$name"
  log "stage $name: start"
  "$@"
  if ((${#FAILURES[@]} > before)); then
    log "stage $name: FAILED after $((SECONDS - began)) s"
  else
    log "stage $name: done in $((SECONDS - began)) s"
  fi
}

# at_once FUNCTION NAME…: runs FUNCTION for every NAME at the same time. What one
# of them reports with fail counts as if it had been reported here.
# shellcheck disable=SC2030,SC2031 # that is what the files are for
at_once() {
  local function=$1 name jobs failures
  shift
  jobs=$(mktemp -d "$RUN_DIR/jobs.XXXXXX")
  for name in "$@"; do
    (
      FAILURES=()
      "$function" "$name"
      ((${#FAILURES[@]} == 0)) || printf '%s\n' "${FAILURES[@]}" >"$jobs/$name.failures"
      : >"$jobs/$name"
    ) &
  done
  wait
  for name in "$@"; do
    if [[ ! -e $jobs/$name ]]; then
      fail "$name: $function ended before its time"
      continue
    fi
    if [[ -e $jobs/$name.failures ]]; then
      mapfile -t failures <"$jobs/$name.failures"
      FAILURES+=("${failures[@]}")
    fi
  done
  rm -r "$jobs"
}

# wait_for SECONDS COMMAND…: repeats a command until it succeeds, quietly.
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep "$CUBEOS_POLL"
  done
}

# cable_address: eth0's, or nothing.
cable_address() { ip -4 -oneline address show dev eth0 scope global 2>/dev/null | awk '{ sub("/.*", "", $4); print $4; exit }'; }

# write_file PATH MODE: standard input becomes the file, all of it or nothing.
write_file() {
  local partial=$1.partial
  rm -f "$partial"
  (umask 077 && cat >"$partial")
  chmod "$2" "$partial"
  sync "$partial"
  mv -f "$partial" "$1"
  sync "$(dirname "$1")"
}

# wifi_name_valid NAME, wifi_key_valid KEY: whether WiFi can do with it. Lengths
# are in bytes.
wifi_name_valid() {
  local LC_ALL=C
  ((${#1} >= 1 && ${#1} <= 32)) && [[ $1 != *[[:cntrl:]]* ]]
}

wifi_key_valid() {
  local LC_ALL=C
  ((${#1} >= 8 && ${#1} <= 63)) && [[ $1 != *[[:cntrl:]]* ]]
}

hex() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }

unhex() { printf '%b' "$(printf '%s' "$1" | sed 's/../\\x&/g')"; }

# wifi_networks: those that wlan1 is to join, one a line: the name in hex, a space,
# and the key as wpa_supplicant writes it: in quotation marks, as 64 hex digits, or
# nothing, which is no key.
wifi_networks() {
  local line name='' key=''
  [[ -f $WLAN1_CONF ]] || return 0
  while read -r line || [[ $line ]]; do
    case $line in
      'network={') name='' key='' ;;
      ssid=\"*\") name=$(hex "${line:6:-1}") ;;
      ssid=*) name=${line#ssid=} ;;
      psk=*) key=${line#psk=} ;;
      '}') printf '%s %s\n' "${name,,}" "$key" ;;
    esac
  done <"$WLAN1_CONF"
}

# wifi_note NAME KEY: what cubeos-wifi.txt on the boot partition says.
wifi_note() { printf 'WiFi name: %s\r\nWiFi key:  %s\r\n' "$1" "$2"; }

# export_env FILE…: exports the KEY=value lines of the files that exist, without
# running them as a script. The API writes what it was sent into some of them:
# only names that mean something here are taken, so no PATH and no LD_PRELOAD.
export_env() {
  local file line ours='^(CUBEOS_[A-Z0-9_]+|NPM_[A-Z0-9_]+|[A-Z0-9_]+_IMAGE|PIHOLE_PASSWORD|JWT_SECRET|HAL_CORE_KEY)=(.*)$'
  for file in "$@"; do
    [[ -f $file ]] || continue
    while IFS= read -r line || [[ -n $line ]]; do
      if [[ $line =~ $ours && $line != CUBEOS_ROOT=* ]]; then
        export "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"
      fi
    done <"$file"
  done
}

# lost_settings FILE COPY: those of the lines KEY=value of COPY whose KEY has no
# value in FILE. Neither has to exist.
lost_settings() {
  local line
  [[ -f $2 ]] || return 0
  while IFS= read -r line; do
    if [[ $line == [A-Z]*=?* ]] && ! grep -qs "^${line%%=*}=." "$1"; then
      printf '%s\n' "$line"
    fi
  done <"$2"
}

# The digest of secrets.env, and that of the one that the services were made of. It
# is taken before the file is read: what is written meanwhile is then a new one.
SECRETS_IN_FORCE=$RUN_DIR/secrets-in-force
secrets_digest() { sha256sum "$CONFIG_DIR/secrets.env" | cut -d ' ' -f 1; }

# What every service and script may read, with or without what is in /cubeos.
export_defaults() { export_env "$DEFAULTS_FILE" "$CONFIG_DIR/defaults.env"; }

# What the compose files and stacks refer to; the later file wins.
export_config() {
  export_defaults
  export_env "$CONFIG_DIR"/{images,secrets,ap,network}.env "$ROOT/etc/cubeos-release"
}

# Sixteen of 31 characters that are not mistaken for one another: 79 bits.
random_key() {
  local characters
  characters=$(head -c 1024 /dev/urandom | tr -dc 'abcdefghjkmnpqrstuvwxyz23456789')
  printf '%s-%s-%s-%s' "${characters:0:4}" "${characters:4:4}" "${characters:8:4}" "${characters:12:4}"
}

# to_boot_partition NAME: standard input becomes a file that any computer can read.
to_boot_partition() { mountpoint --quiet "$BOOT_DIR" && write_file "$BOOT_DIR/$1" 0644; }

# device_password: the one that this device has made for its services, until its
# owner has set another one.
device_password() {
  [[ ${NPM_INITIAL_PASSWORD:-} =~ $RANDOM_KEY && ${CUBEOS_PIHOLE_PASSWORD:-} == "$NPM_INITIAL_PASSWORD" ]] \
    && printf '%s' "$NPM_INITIAL_PASSWORD"
}

# docker_get PATH: asks Docker's API. The docker program would take longer to
# start than its answer takes.
docker_get() { curl --silent --fail --max-time 20 --unix-socket "$ROOT/run/docker.sock" "http://docker$1"; }

docker_exists() { docker_get "$1" >/dev/null; }

docker_answers() { docker_exists /_ping; }

docker_gave_up() {
  [[ $(systemctl show --property=ActiveState --value docker.service) == failed ]] \
    || (($(systemctl show --property=NRestarts --value docker.service) >= 3))
}

docker_decided() { docker_answers || docker_gave_up; }

# Waits for Docker. One that gave up is started without its Swarm state: where
# that was the reason, ensure_swarm makes a new Swarm, otherwise it is put back.
wait_for_docker() {
  local swarm=$ROOT/var/lib/docker/swarm
  if wait_for "$CUBEOS_DOCKER_TIMEOUT" docker_decided && docker_answers; then
    return 0
  fi
  if docker_gave_up && [[ -e $swarm ]]; then
    warn "Docker does not start: trying it without its Swarm state"
    systemctl stop docker.service docker.socket
    rm -rf "$swarm.broken"
    mv "$swarm" "$swarm.broken"
    systemctl reset-failed docker.service docker.socket
    if systemctl start docker.service && wait_for "$CUBEOS_DOCKER_TIMEOUT" docker_answers; then
      warn "Swarm's state was damaged; it is now in ${swarm#"$ROOT"}.broken"
      return 0
    fi
    systemctl stop docker.service docker.socket
    rm -rf "$swarm"
    mv "$swarm.broken" "$swarm"
    systemctl reset-failed docker.service docker.socket
    systemctl start --no-block docker.service
  fi
  fail "Docker does not start, so none of the services does: see 'journalctl -u docker'"
  return 1
}

image_present() { docker_exists "/images/$1/json"; }

swarm_state() { docker_get /info | jq -r '"\(.Swarm.LocalNodeState) \(.Swarm.ControlAvailable)"'; }

# A node that is on its way is given its time; an inactive one needs none.
swarm_settled() {
  local state
  state=$(swarm_state)
  [[ $state == 'active true' || $state == inactive* ]]
}

swarm_manages() { docker_exists /nodes; }

# abandon_swarm STATE: ends a Swarm that can not be used. Its state is kept for
# whoever wants to know why; what it ran is made again from what is in /cubeos.
abandon_swarm() {
  local swarm=$ROOT/var/lib/docker/swarm
  warn "Swarm's state is damaged: making a new Swarm; the old state is in ${swarm#"$ROOT"}.broken"
  rm -rf "$swarm.broken"
  cp -a "$swarm" "$swarm.broken" || warn "the old state could not be kept"
  if [[ $1 != inactive* ]]; then
    timeout 120 docker swarm leave --force || warn "the damaged Swarm does not end"
  fi
}

# Containers of a Swarm that was put aside belong to nobody.
remove_orphaned_tasks() {
  local id
  docker_get '/containers/json?all=true&filters=%7B%22label%22%3A%5B%22com.docker.swarm.task.id%22%5D%7D' \
    | jq -r '.[].Id' | while read -r id; do
    docker rm --force "$id" >/dev/null
  done
}

# Makes this device a Swarm of one. Only the loopback address is used, so that
# Swarm neither needs a network nor listens on one. Swarm takes its networks from
# 10.0.0.0/8 unless told otherwise: a container on one that is also the home's
# would answer nobody at home.
ensure_swarm() {
  local state
  wait_for "$CUBEOS_SWARM_TIMEOUT" swarm_settled || warn "Swarm is '$(swarm_state)'"
  if [[ $(swarm_state) == 'active true' ]] && wait_for "$CUBEOS_SWARM_TIMEOUT" swarm_manages; then
    return 0
  fi
  state=$(swarm_state)
  if [[ $state != inactive* || -e $ROOT/var/lib/docker/swarm/docker-state.json ]]; then
    abandon_swarm "$state"
  elif [[ -e $FIRST_BOOT_MARKER ]]; then
    warn "Swarm's state is lost: making a new Swarm"
  fi
  remove_orphaned_tasks || warn "containers of an earlier Swarm could not be removed"
  if docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:2377 --task-history-limit 1 \
    --cert-expiry 87600h --default-addr-pool 172.24.0.0/13 --default-addr-pool-mask-length 24 >/dev/null; then
    log "Swarm initialised"
  else
    fail "Swarm could not be initialised"
  fi
}

# Swarm's certificates of 90 days would run out on a device that lies in a drawer,
# or whose clock is set late. The first one is of 90 days whatever one asks for.
lengthen_swarm_certificate() {
  local certificate=$ROOT/var/lib/docker/swarm/certificates/swarm-node.crt
  if [[ -e $certificate ]] && ! openssl x509 -in "$certificate" -noout -checkend $((365 * 86400)) >/dev/null; then
    docker swarm ca --rotate --detach --quiet >/dev/null || warn "Swarm's certificate was not renewed"
  fi
}

# ensure_swarm_secret NAME VALUE
ensure_swarm_secret() {
  if [[ -z $2 ]]; then
    fail "Swarm secret $1 has no value"
  elif ! docker_exists "/secrets/$1"; then
    printf '%s' "$2" | docker secret create "$1" - >/dev/null || fail "Swarm secret $1 could not be created"
  fi
}

# What both ways of booting do alike.
swarm() {
  ensure_swarm
  ensure_swarm_secret cubeos_jwt_secret "${JWT_SECRET:-}"
  ensure_swarm_secret cubeos_encryption_key "${CUBEOS_ENCRYPTION_KEY:-}"
}

access_point() { "$LIB_DIR/cubeos-access-point.sh" || fail "the access point is not up"; }

network_mode() { "$LIB_DIR/cubeos-network-request.sh" || fail "the network mode was not applied"; }

# read_services: fills the lists below from the one that the image ships.
read_services() {
  local rows name kind url
  rows=$(jq --raw-output '.services[] | [.name, .kind, "http://127.0.0.1:\(.http.port)\(.http.health)"] | @tsv' "$SERVICES_FILE") || rows=
  if [[ -z $rows ]]; then
    fail "$SERVICES_FILE can not be read, so no service is started; flash the card again"
    return
  fi
  while IFS=$'\t' read -r name kind url; do
    case $kind in
      compose) COMPOSE_SERVICES+=("$name") ;;
      stack) STACKS+=("$name") ;;
      *) fail "$name: $SERVICES_FILE says that it is run by '$kind', which nothing here does" ;;
    esac
    SERVICE_URLS[$name]=$url
  done <<<"$rows"
}

# The names of the services by kind, in the order in which they start, and where
# each answers when it is well.
COMPOSE_SERVICES=() STACKS=()
declare -A SERVICE_URLS

# container_of NAME: of a compose service. swarm_service_of NAME: of a stack.
container_of() { printf 'cubeos-%s' "${1#cubeos-}"; }
swarm_service_of() { printf '%s_%s' "$1" "$1"; }

# Only one at a time starts services.
lock_services() {
  exec {services_lock}>"$RUN_DIR/services.lock"
  flock "$services_lock"
}

# try_lock_services: the same for whoever comes again anyway.
try_lock_services() {
  exec {services_lock}>"$RUN_DIR/services.lock"
  flock --nonblock "$services_lock"
}

unlock_services() { exec {services_lock}>&-; }

compose() { docker compose --file "$COREAPPS_DIR/$1/appconfig/docker-compose.yml" "${@:2}"; }

# image_variable NAME: which variable of images.env has its reference.
image_variable() {
  local variable=${1//-/_}_image
  printf '%s' "${variable^^}"
}

# image_of NAME: the reference that images.env has for it.
image_of() {
  local variable
  variable=$(image_variable "$1")
  printf '%s' "${!variable:-}"
}

has_image() {
  local image
  image=$(image_of "$1")
  if [[ -z $image ]] || ! image_present "$image"; then
    fail "$1: its image $image is not on this device; flash the card again, or load the image with 'docker load'"
    return 1
  fi
}

compose_up() {
  has_image "$1" || return 0
  compose "$1" up --detach --no-build --pull never --quiet-pull || fail "$1: docker compose could not start it"
}

# Where a stack's containers find the device: by docker_gwbridge, which is there
# with or without an access point. A new Swarm may have it elsewhere.
bridge_address() { docker_get /networks/docker_gwbridge | jq --exit-status --raw-output '.IPAM.Config[0].Gateway | split("/")[0]'; }

stack_deploy() {
  local bridge
  has_image "$1" || return 0
  if ! bridge=$(bridge_address); then
    warn "$1: Swarm's bridge is not there: without an access point it does not find the other services"
    bridge=$CUBEOS_ADDRESS
  fi
  CUBEOS_BRIDGE_ADDRESS=$bridge docker stack deploy --detach=true --resolve-image never \
    --compose-file "$COREAPPS_DIR/$1/appconfig/docker-compose.yml" "$1" || fail "$1: docker stack deploy failed"
}

# The real services redirect to log-in pages and the like: an answer below 400
# is a healthy one.
answers() { curl --silent --fail --max-time 5 --output /dev/null "$1"; }

service_answers() { answers "${SERVICE_URLS[$1]}"; }

restart_service() {
  if [[ " ${STACKS[*]} " == *" $1 "* ]]; then
    timeout 120 docker service update --quiet --detach --force "$(swarm_service_of "$1")"
  else
    compose "$1" restart
  fi
}

# Restarts, once, each service that could be started and does not answer.
restart_silent_services() {
  local service deadline=$((SECONDS + CUBEOS_HEALTH_TIMEOUT))
  for service in "${COMPOSE_SERVICES[@]}" "${STACKS[@]}"; do
    if ! failed "$service" && ! wait_for $((deadline - SECONDS)) service_answers "$service"; then
      warn "$service does not answer after $CUBEOS_HEALTH_TIMEOUT s: restarting it"
      restart_service "$service" || warn "$service could not be restarted"
    fi
  done
}

# By which account the API and the scripts administer Nginx Proxy Manager. The API
# looks for this name, whatever the domain is.
NPM_ACCOUNT=api@cubeos.cube
: "${CUBEOS_NPM_URL:=http://127.0.0.1:81}"

# npm_api PATH [OPTION…]: asks Nginx Proxy Manager with these options of curl's and
# prints the answer. Passwords and the token go by pipe: command lines can be read
# by every user.
npm_api() {
  curl --silent --show-error --fail-with-body --max-time 60 \
    --retry 3 --retry-connrefused --retry-max-time "$CUBEOS_HEALTH_TIMEOUT" \
    --header 'Content-Type: application/json' --header @<(printf 'Authorization: Bearer %s\n' "${npm_token:-none}") \
    "${@:2}" "$CUBEOS_NPM_URL/api$1"
}

# npm_error ANSWER: what the API says is wrong.
npm_error() { jq -r '.error.message // .' <<<"$1" 2>/dev/null || printf '%s' "$1"; }

# npm_log_in NAME PASSWORD: what npm_api asks is asked as this account from now on.
# Where it is not let in, npm_problem says why.
npm_log_in() {
  local answer
  npm_token=
  if answer=$(identity=$1 secret=$2 jq --null-input '{identity: env.identity, secret: env.secret}' | npm_api /tokens --data @-); then
    npm_token=$(jq --raw-output .token <<<"$answer")
  else
    npm_problem=$(npm_error "$answer")
    return 1
  fi
}

# failed NAME: whether fail has been told of it.
failed() {
  local failure
  for failure in "${FAILURES[@]}"; do
    [[ $failure != "$1: "* ]] || return 0
  done
  return 1
}

# Waits for all services that could be started; the time is that of all together.
await_services() {
  local service deadline=$((SECONDS + CUBEOS_HEALTH_TIMEOUT))
  for service in "${COMPOSE_SERVICES[@]}" "${STACKS[@]}"; do
    if failed "$service"; then
      continue
    elif wait_for $((deadline - SECONDS)) service_answers "$service"; then
      log "$service answers on ${SERVICE_URLS[$service]}"
    else
      fail "$service: it does not answer on ${SERVICE_URLS[$service]} after $CUBEOS_HEALTH_TIMEOUT s"
    fi
  done
}
