#!/bin/bash
# Writes what is needed to find out what is wrong to cubeos-diagnosis.txt on the boot
# partition, which any computer can read: state and logs, at most 2 MiB, no secrets.
# What does not answer in time is left out, and the file says so.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

: "${CUBEOS_DIAGNOSIS_TIMEOUT:=20}" # of each command, in seconds

file=cubeos-diagnosis.txt
left=$((2 << 20)) # bytes that it may still grow by
little=$((24 << 10)) much=$((256 << 10))

# What the name of a secret has in it, as an expression.
secret_name='[A-Za-z0-9_-]*(pass(wd|word|phrase|code)?|psk|pwhash|secret|token|wep_key|[_-]key)[A-Za-z0-9_-]*'

# Everybody knows these, and without them no line could be read.
no_secrets=(cubeos changeme admin@cubeos.cube documented random true false yes no on off null none)

# after EXPRESSION FILE…: what follows the match in lines of the files that there are.
after() {
  local expression=$1 path
  shift
  for path in "$@"; do
    [[ ! -f $path ]] || LC_ALL=C sed -nE "s/$expression//p" "$path"
  done
}

# assigned FILE…: what the files set names of secrets to, be it to the end of the line
# or, where YAML and JSON have several in one, to a comma or bracket.
assigned() {
  local path end
  for path in "$@"; do
    for end in '.*' '[^,}]*'; do
      [[ ! -f $path ]] || { LC_ALL=C grep -aoiE "${secret_name}[\"']?[[:space:]]*[:=]$end" "$path" || (($? == 1)); }
    done
  done | sed -E 's/^[^:=]*[:=]//'
}

# written: every secret of this device that is in one of its files, a line each, as
# the file has it.
written() {
  local name key
  after '^[[:space:]]*[A-Za-z0-9_]+=' "$CONFIG_DIR"/{secrets.env,secrets.env.partial,.secrets.env.good,.secrets.env.good.partial}
  after '^CUBEOS_AP_KEY=' "$CONFIG_DIR"/{ap.env,ap.env.partial}
  after '^(wpa_passphrase|wpa_psk|sae_password|wep_key[0-9])=' "$ROOT"/etc/hostapd/*.conf* "$STATE_DIR"/hostapd.conf* "$RUN_DIR"/hostapd.conf
  after '^[[:space:]]*(ssid|psk|password|sae_password|identity|private_key_passwd|wep_key[0-9])=' "$ROOT"/etc/wpa_supplicant/*.conf*
  while read -r name key; do
    unhex "$name"
    printf '\n%s\n' "$key"
  done < <(wifi_networks)
  # Names of networks, and users with their passwords.
  sed -nE 's/^[[:space:]]*(".*"):[[:space:]]*$/\1/p' "$BOOT_DIR"/network-config* "$ROOT"/etc/netplan/*.yaml* 2>/dev/null || (($? == 2))
  sed -nE 's/^[[:space:]]*(-[[:space:]]+)?["'\'']?[a-z_][a-z0-9_-]*:([^[:space:]].*)/\2/p' "$BOOT_DIR"/user-data* "$ROOT"/var/lib/cloud/instance/*.txt 2>/dev/null || (($? == 2))
  assigned "$BOOT_DIR"/{user-data,network-config}* "$BOOT_DIR"/cubeos-{passwords,wifi}.txt "$ROOT"/etc/netplan/*.yaml* \
    "$ROOT"/etc/NetworkManager/system-connections/* "$ROOT"/var/lib/cloud/instance/*.txt "$ROOT"/run/cloud-init/*.json \
    "$COREAPPS_DIR"/pihole/appdata/etc-pihole/pihole.toml "$COREAPPS_DIR"/npm/appdata/letsencrypt/credentials/* \
    "$ROOT"/cubeos/{core,}apps/*/appconfig/{.env,*.yml}
  after '^Password .*:[[:space:]]*$' "$BOOT_DIR"/cubeos-passwords.txt
  if [[ -f $COREAPPS_DIR/cubeos-hal/appdata/acl.json ]]; then
    grep -aoE '"[^"]{8,}"' "$COREAPPS_DIR"/cubeos-hal/appdata/acl.json || (($? == 1))
  fi
}

# meant: what each line of standard input may stand for without the file's own way of
# writing it: with quotation marks, or a remark behind it.
meant() {
  LC_ALL=C awk -v single="'" '
    {
      gsub(/^[ \t]+|[ \t\r]+$/, "")
      print
      quote = substr($0, 1, 1)
      if (quote != "\"" && quote != single) {
        sub(/[ \t]+#.*/, "")
        print
        next
      }
      print substr($0, 2, length($0) - 2)
      text = ""
      for (i = 2; i <= length($0) && (c = substr($0, i, 1)) != quote; i++) {
        if (c == "\\" && quote == "\"") c = substr($0, ++i, 1)
        text = text c
      }
      print text
    }'
}

# spelt: each line of standard input also as JSON and addresses of the web spell it.
spelt() {
  tee "$work/spelt"
  jq --raw-input --raw-output '(tojson | .[1:-1] | ., (gsub("<"; "\\u003c") | gsub(">"; "\\u003e") | gsub("&"; "\\u0026"))), @uri' "$work/spelt"
}

# secrets: all of them, the longest first, since one may be within another.
secrets() {
  written | tr -d '\000' | meant | spelt | sort -u \
    | { grep -avxF -e '' "${no_secrets[@]/#/--regexp=}" || (($? == 1)); } \
    | LC_ALL=C awk '{ print length($0) "\t" $0 }' | sort -rn | cut -f 2-
}

# mask: standard input without what is in the file $work/secrets, one of fewer than six
# characters only as a whole word, and without what looks like a secret that no file
# has. Nothing in it tells a terminal to do anything.
mask() {
  tr -d '\000-\010\013-\037\177' \
    | LC_ALL=C awk -v list="$work/secrets" '
      BEGIN { while ((getline line < list) > 0) secret[++n] = line }
      function masked(text, secret,   at, before, rest) {
        while ((at = index(text, secret)) > 0) {
          before = before substr(text, 1, at - 1)
          rest = substr(text, at + length(secret))
          if (length(secret) >= 6 || before !~ /[A-Za-z0-9_]$/ && rest !~ /^[A-Za-z0-9_]/) {
            before = before "***"
            text = rest
          } else {
            before = before substr(text, at, 1)
            text = substr(text, at + 1)
          }
        }
        return before text
      }
      { for (i = 1; i <= n; i++) if (index($0, secret[i])) $0 = masked($0, secret[i]); print }' \
    | LC_ALL=C sed -E \
      -e '/-----BEGIN [A-Z ]*PRIVATE KEY/,/-----END/s/.*/***/' \
      -e 's/eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?/***/g' \
      -e 's/[$](1|2[abxy]?|5|6|7|y|gy|argon2[a-z]*|BALLOON[A-Z0-9-]*)[$][^[:space:]":,]+/***/g' \
      -e 's/SWMTKN-[0-9A-Za-z-]+/***/g' \
      -e 's/\b[a-z2-9]{4}(-[a-z2-9]{4}){3}\b/***/g' \
      -e 's#(://[^/@[:space:]]*:)[^/@[:space:]]+@#\1***@#g' \
      -e 's#\b((bearer|basic)[[:space:]]+)[A-Za-z0-9+/=._~-]{8,}#\1***#Ig' \
      -e "s/(${secret_name}[\"'\\\\]*[[:space:]]*[:=][[:space:]]*)(\\\\?\"[^\"]*\"|\\\\?'[^']*'|[^\"'[:space:],}&]+)/\1***/Ig"
}

# middle_out LIMIT FILE: all of it, or its beginning and end.
middle_out() {
  local size
  size=$(stat --format=%s "$2")
  if ((size <= $1)); then
    cat "$2"
  else
    head -c $(($1 / 2)) "$2" | sed '$d'
    echo "[… $((size - $1)) bytes are left out here …]"
    tail -c $(($1 / 2)) "$2" | sed 1d
  fi
}

# section LIMIT COMMAND…: what it says, in so many bytes.
section() {
  local limit=$1 status=0
  shift
  ((left > 4096)) || return 0
  (ulimit -f 8192 && exec timeout --kill-after=0.2 "$CUBEOS_DIAGNOSIS_TIMEOUT" "$@") >"$work/said" 2>&1 </dev/null || status=$?
  # What was cut off may be within a secret, which is then not known as one.
  if ((status > 0)) && [[ $(tail -c 1 "$work/said" | tr '\000' x) ]]; then
    sed -i '$d' "$work/said"
  fi
  if (($(stat --format=%s "$work/said") > 1 << 20)); then
    tail -c $((1 << 20)) "$work/said" | sed 1d >"$work/end"
    mv "$work/end" "$work/said"
  fi
  {
    printf '\n==== %s\n' "$*"
    cat "$work/said"
    case $status in
      0) ;;
      124 | 137) echo "[no answer within $CUBEOS_DIAGNOSIS_TIMEOUT s]" ;;
      127) echo '[this device does not have the command]' ;;
      *) echo "[exit status $status]" ;;
    esac
  } | mask >"$work/masked"
  middle_out $((limit < left ? limit : left)) "$work/masked" >>"$work/$file"
  left=$(((2 << 20) - $(stat --format=%s "$work/$file") - 1024))
}

system() {
  section $little cat "$ROOT/etc/cubeos-release" "$ROOT/proc/version" "$ROOT/proc/cmdline" "$ROOT/proc/uptime" "$RUN_DIR/boot-mode" "$STAGE_FILE"
  section $little cat "$CONFIG_DIR"/{defaults,images,network,ap}.env
  section $little date
  section $little systemctl list-units --failed --full --no-pager
  section $little systemctl list-jobs --full --no-pager
  section $little systemctl list-units --all --full --no-pager 'cubeos-*' docker.service containerd.service hostapd.service dhcpcd.service
  section $little df -hT
  section $little df -hi
  section $little free -m
  section $little lsblk --output NAME,SIZE,TYPE,FSTYPE,LABEL,RO,MOUNTPOINTS
  section $little ps -eo pid,stat,etimes,rss,wchan:20,comm --sort=-rss
  section $little vcgencmd get_throttled
  section $little ls -lA "$ROOT/cubeos" "$CONFIG_DIR" "$STATE_DIR" "$IMAGES_DIR" "$BOOT_DIR"
}

network() {
  section $little ip address
  section $little ip route
  section $little cat "$ROOT/etc/resolv.conf"
  section $little ss -lntup
  section $little iptables-save
  section $little ip6tables-save
  section $little iw dev
  section $little iw reg get
  section $little rfkill
}

logs() {
  section $much journalctl --boot --no-pager --no-hostname --output short-monotonic --lines 2000 --unit 'cubeos-*'
  section $much journalctl --boot --no-pager --no-hostname --output short-monotonic --lines 1000 \
    --unit docker.service --unit hostapd.service --unit dhcpcd.service --unit 'wpa_supplicant*' --unit 'cloud-*'
  section $much journalctl --boot --no-pager --no-hostname --output short-monotonic --lines 500 --priority warning
}

containers() {
  local name
  section $little curl --silent --show-error --max-time "$CUBEOS_DIAGNOSIS_TIMEOUT" --unix-socket "$ROOT/run/docker.sock" http://docker/_ping
  if ! docker_answers; then
    return
  fi
  section $little docker ps --all --no-trunc --format 'table {{.Names}}\t{{.Image}}\t{{.Status}}'
  section $little docker images --digests
  section $little docker service ls
  section $little docker node ls
  section $little docker info
  timeout --kill-after=0.2 "$CUBEOS_DIAGNOSIS_TIMEOUT" docker ps --all --format '{{.Names}}' >"$work/names" || :
  while read -r name; do
    section $((much / 4)) docker logs --timestamps --tail 300 "$name"
  done <"$work/names"
}

mountpoint --quiet "$BOOT_DIR" || die "the boot partition is not mounted on ${BOOT_DIR#"$ROOT"}: there is no place for the diagnosis"
install -d -m 0755 "$RUN_DIR"
exec 8>"$RUN_DIR/diagnosis.lock"
flock --nonblock 8 || die "a diagnosis is already being written"
work=$(mktemp -d "$RUN_DIR/diagnosis.XXXXXX") # in memory, and root's alone
trap 'rm -rf "$work"' EXIT
umask 077
secrets >"$work/secrets"

printf 'Diagnosis of a CubeOS device. What is secret is ***.\n' >"$work/$file"
section $little "$LIB_DIR/cubeos-state.sh"
system
network
logs
containers
printf '\n==== end of the diagnosis\n' >>"$work/$file"
to_boot_partition "$file" <"$work/$file" || {
  rm -f "$BOOT_DIR/$file.partial"
  die "the diagnosis can not be written to the boot partition"
}
log "$file is on the boot partition: $(stat --format=%s "$work/$file") bytes"
