#!/bin/bash
# Looks after the services, once a minute: what has not answered for three minutes is
# restarted, one in each run, so often and no more. The same for Docker and the access
# point. And it puts right what others have done to the firewall: HAL empties it for
# whoever asks. What it has done is in /run/cubeos/watchdog/actions, a line each, and
# what it has given up in NAME.problem beside it; the banner shows both.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# In seconds of this boot's time: a Pi's clock jumps.
: "${CUBEOS_WATCHDOG_PATIENCE:=180}" "${CUBEOS_WATCHDOG_HOUR:=3600}"
# How often one thing is restarted in an hour, and in one boot.
: "${CUBEOS_WATCHDOG_PER_HOUR:=3}" "${CUBEOS_WATCHDOG_PER_BOOT:=6}"

dir=$RUN_DIR/watchdog
rules=$dir/docker.rules
now=$(cut -d . -f 1 "$ROOT/proc/uptime")
changed=''

act() {
  log "watchdog: $*"
  printf '%s %s\n' "$(date '+%F %T')" "$*" >>"$dir/actions"
  tail -n 50 "$dir/actions" >"$dir/actions.new"
  mv "$dir/actions.new" "$dir/actions"
  changed=yes
}

# idle: whether nobody else starts services, or is about to end them.
idle() {
  [[ ! -e $FACTORY_RESET_MARKER && $(systemctl show --property ActiveState --value cubeos-init.service) != activating ]] \
    && try_lock_services
}

# spent NAME: whether it has been restarted as often as it may be.
spent() {
  [[ -f $dir/$1.restarts ]] && awk -v now="$now" -v hour="$CUBEOS_WATCHDOG_HOUR" \
    -v per_hour="$CUBEOS_WATCHDOG_PER_HOUR" -v per_boot="$CUBEOS_WATCHDOG_PER_BOOT" \
    '$1 > now - hour { lately++ } END { exit !(lately >= per_hour || NR >= per_boot) }' "$dir/$1.restarts"
}

# well NAME: it answers, so what there was to say of it is no longer true.
well() {
  rm -f "$dir/$1.since"
  if [[ -e $dir/$1.problem ]]; then
    rm -f "$dir/$1.problem"
    act "$1 answers again"
  fi
}

# due NAME: whether it has been unwell for so long that it is to be restarted now.
due() {
  local since
  if [[ ! -f $dir/$1.since ]]; then
    echo "$now" >"$dir/$1.since"
  fi
  since=$(<"$dir/$1.since")
  ((now - since >= CUBEOS_WATCHDOG_PATIENCE)) || return
  if spent "$1"; then
    if [[ ! -e $dir/$1.problem ]]; then
      act "$1 does not answer, though it was restarted $(wc -l <"$dir/$1.restarts") times: it is left alone"
      echo "$1 does not answer, though it was restarted: see 'journalctl -u cubeos-watchdog'" >"$dir/$1.problem"
    fi
    return 1
  fi
}

# restart NAME COMMAND…: the time that it is given to answer begins anew.
restart() {
  local name=$1
  shift
  echo "$now" >>"$dir/$name.restarts"
  rm -f "$dir/$name.since" "$dir/$name.problem"
  act "$name has not answered for $CUBEOS_WATCHDOG_PATIENCE s: restarting it"
  "$@" || act "$name could not be restarted"
}

is_there() {
  if [[ " ${STACKS[*]} " == *" $1 "* ]]; then
    docker_exists "/services/$(swarm_service_of "$1")"
  else
    docker_exists "/containers/$(container_of "$1")/json"
  fi
}

# start NAME: one that is gone is made again.
start() {
  local before=${#FAILURES[@]}
  if is_there "$1"; then
    restart_service "$1"
  elif [[ " ${STACKS[*]} " == *" $1 "* ]]; then
    stack_deploy "$1"
  else
    compose_up "$1"
  fi
  ((${#FAILURES[@]} == before))
}

restart_docker() {
  systemctl reset-failed docker.service docker.socket
  timeout 300 systemctl restart docker.service
}

# needs NAME OTHER: whether it can not answer before the other one does. Through the
# Dashboard it is the API that one asks.
needs() { [[ "$1 $2" == 'cubeos-dashboard cubeos-api' ]]; }

# services: the first of those that are due is restarted. One without an image can
# not be, as its boot has said; one that waits for another one is not to blame.
services() {
  local name other sick=() acted=''
  for name in "${COMPOSE_SERVICES[@]}" "${STACKS[@]}"; do
    if service_answers "$name"; then
      well "$name"
      continue
    fi
    for other in "${sick[@]}"; do
      if needs "$name" "$other"; then
        rm -f "$dir/$name.since"
        continue 2
      fi
    done
    sick+=("$name")
    if image_present "$(image_of "$name")" && due "$name" && [[ -z $acted ]]; then
      restart "$name" start "$name"
      acted=yes
    fi
  done
}

access_point_up() { [[ ! -e $ROOT/sys/class/net/wlan0 ]] || systemctl is-active --quiet hostapd.service; }

# dockers TABLE: the rules of a table that are not of our own chains.
dockers() { iptables-save -t "$1" | grep -E '^(:[^ ]+ - |-A )' | grep -v CUBEOS; }

# Docker makes its chains when it starts and never looks again.
dockers_chains() {
  iptables -w 10 -t nat -S PREROUTING | grep -q -- '-j DOCKER$' \
    && iptables -w 10 -t nat -S DOCKER >/dev/null 2>&1 \
    && iptables -w 10 -t filter -S FORWARD | grep -q -- '-j DOCKER-USER$'
}

keep_rules() {
  local table
  for table in filter nat; do
    dockers "$table" >"$rules.$table.new"
    mv "$rules.$table.new" "$rules.$table"
  done
}

# missing TABLE: what of the rules that were kept has to be put in again, as
# iptables-restore reads it. It empties the chains that are declared; of the built-in
# ones only the rules that are not there are added.
missing() {
  echo "*$1"
  awk 'FILENAME != ARGV[2] { there[$0]; next }
    /^:/ { made[substr($1, 2)]; print $1, $2, "[0:0]"; next }
    $2 in made || !($0 in there)' <(dockers "$1" || true) "$rules.$1"
  echo COMMIT
}

# Whoever restarted Docker for it would end all services: the rules are put in as
# they were a minute ago. Where that does not do, a restart does.
docker_firewall() {
  local lost
  if dockers_chains; then
    keep_rules
    well docker-firewall
    return
  fi
  if [[ -s $rules.nat ]] && lost=$(missing filter && missing nat) && iptables-restore -w 10 --noflush <<<"$lost" && dockers_chains; then
    act "somebody has removed Docker's firewall rules: they are as they were"
  elif spent docker-firewall; then
    due docker-firewall || true # says so
  else
    echo "$now" >>"$dir/docker-firewall.restarts"
    act "somebody has removed Docker's firewall rules: restarting Docker, which makes them"
    restart_docker || act "Docker could not be restarted"
  fi
}

firewall() {
  if ! "$LIB_DIR/cubeos-network-mode.sh" check; then
    if "$LIB_DIR/cubeos-network-mode.sh" apply; then
      act "somebody has changed the firewall rules of the network mode: they are as they were"
    else
      act "the firewall rules of the network mode can not be put right"
    fi
  fi
}

install -d -m 0755 "$dir"
idle || exit 0
export_config
read_services
if docker_answers; then
  well docker
  docker_firewall
  firewall
  services
elif due docker; then
  restart docker restart_docker
fi
if access_point_up; then
  well access-point
elif due access-point; then
  restart access-point "$LIB_DIR/cubeos-access-point.sh"
fi
if [[ $changed ]]; then
  systemctl start --no-block cubeos-banner.service
fi
