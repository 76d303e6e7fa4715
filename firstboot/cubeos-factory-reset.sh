#!/bin/bash
# Makes the device what it was when its image was written to the card: nothing of
# its owner stays.
#   cubeos-factory-reset request   sees whether it can be done, notes it, restarts
#   cubeos-factory-reset run       does it; the next boot is then a first one
#   cubeos-factory-reset pack      keeps what the image has, at the end of its build
# In the places below all goes that neither the image nor a package has brought, and
# what is not as in the image is put back from factory.tar. Every step can be done
# again, and the note goes last: after a power cut the next boot begins anew. Nothing
# is read from /cubeos or /home, nor is anything that is mounted there touched: those
# are the owner's disks.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

factory=$STATE_DIR/factory.tar
staging=$STATE_DIR/factory.new
docker_dir=$ROOT/var/lib/docker
boot_files=(user-data meta-data network-config cmdline.txt)

places=(
  cubeos etc home lost+found media mnt opt root srv usr/local
  var/backups var/crash var/local var/log var/mail var/opt var/spool var/tmp var/www
  var/lib/{AccountsService,NetworkManager,bluetooth,cloud,cubeos,dbus,dhcpcd,fail2ban,misc,private,sudo}
  var/lib/systemd/{coredump,credential.secret,linger,random-seed,rfkill,timers}
)

# What else belongs into /.
system=(bin boot dev lib lib64 proc run sbin sys tmp usr var)

# What is there to compare with, but is not put back as it was: packages have been
# upgraded, and the disk may have got another identity.
references=(etc/fstab etc/group etc/passwd)

# What stays: that, what is made of the packages that there are, the service
# images, and what a reset needs itself.
stays='^(etc/(\.updated|fstab|group|gshadow|ld\.so\.cache|machine-id|passwd|resolv\.conf|shadow|ssh/moduli|subgid|subuid)|lost\+found'
stays+='|etc/(alternatives|rc[0-6S]\.d|ssl/certs)(/.*)?|var/lib/cubeos/(images(/.*)?|factory[^/]*|factory\.new/.*))$'

# What is there only while the image is built.
of_build='^etc/apt/apt\.conf\.d/00native-assist$'

# found FIND-OPTION…: paths in the places, each ended by a NUL.
found() {
  local place there=()
  for place in "${places[@]}"; do
    if [[ -e $ROOT/$place || -L $ROOT/$place ]]; then
      there+=("$place")
    fi
  done
  (cd "$ROOT/" && find "${there[@]}" -ignore_readdir_race "$@" -print0)
}

# Always the same bytes, whenever the same image is built.
pack() {
  local -x LC_ALL=C
  local file
  rm -rf "$factory" "$factory.sha256" "$staging"
  {
    found | sed -z -E "\\#$stays#d; \\#$of_build#d"
    printf '%s\0' "${references[@]}"
    for file in "${boot_files[@]}"; do
      [[ ! -f $BOOT_DIR/$file ]] || printf 'boot/firmware/%s\0' "$file"
    done
  } | sort -zu | tar --create --file="$factory" --directory="$ROOT/" --format=gnu --numeric-owner \
    --hard-dereference --mtime="@${SOURCE_DATE_EPOCH:?}" --no-recursion --null --verbatim-files-from --files-from=-
  (cd "$STATE_DIR" && sha256sum factory.tar >factory.tar.sha256)
}

whole() { (cd "$STATE_DIR" && sha256sum --check --strict --status factory.tar.sha256 2>/dev/null); }

# of_image FILE: as it is in the image.
of_image() { tar --extract --to-stdout --file="$factory" "$1"; }

packed() { tar --list --quoting-style=literal --file="$factory" | sed 's|/$||'; }

request() {
  local problems=()
  whole || problems+=("what the image had is damaged (${factory#"$ROOT"}): only flashing the card again helps")
  mountpoint --quiet "$BOOT_DIR" || problems+=("the boot partition is not mounted at ${BOOT_DIR#"$ROOT"}, and its settings would stay")
  ((${#problems[@]} == 0)) || die "no factory reset: $(printf '%s; ' "${problems[@]}" | sed 's/; $//')"
  : | write_file "$FACTORY_RESET_MARKER" 0600 || true # the next line looks
  [[ -e $FACTORY_RESET_MARKER ]] || die "no factory reset: it can not be noted in ${FACTORY_RESET_MARKER#"$ROOT"}; is this root, and can the card be written to?"
  log "factory reset: the device restarts, deletes what is its owner's and restarts again"
  systemctl reboot || die "the device does not restart: the next boot resets it"
}

# What would write again what has been deleted.
quiet() {
  systemctl stop 'cubeos-*.path' 'cubeos-*.timer' 'bluetooth*' 'cron*' 'dhcpcd*' 'fail2ban*' 'wpa_supplicant*' \
    || warn "not everything that may write has ended"
}

# rewrite FILE: standard input becomes its content; owner and mode stay.
rewrite() {
  local new
  new=$(cat)
  if ! cmp -s - "$1" <<<"$new"; then
    (umask 077 && cat >"$1.new") <<<"$new"
    chown --reference="$1" "$1.new"
    chmod --reference="$1" "$1.new"
    sync "$1.new"
    mv -f "$1.new" "$1"
  fi
}

# Packages may have brought accounts since, so the image's files are not put back:
# people's accounts go, the image's own user is again as it was, and nobody has a
# password. The list of accounts goes last: the others are cleared by it.
accounts() {
  local etc=$ROOT/etc person user others
  # shellcheck disable=SC2016 # the fields are awk's
  person='$3 >= 1000 && $3 < 60000'
  user=$(of_image etc/passwd | awk -F: "$person" | head -n 1)
  others=$(awk -F: -v user="${user%%:*}" "$person && \$1 != user { print \$1 }" "$etc/passwd" | xargs)
  export user others
  # shellcheck disable=SC2016 # the rest is awk's, too
  local begin='BEGIN { FS = OFS = ":"; n = split(ENVIRON["others"], o, " "); for (i = 1; i <= n; i++) gone[o[i]]; split(ENVIRON["user"], u) }'
  # shellcheck disable=SC2016
  {
    awk "$begin"'
      FNR == NR { image[$1] = $4; next }
      $3 >= 1000 && $3 < 60000 && !($1 in image) { next }
      $1 in image { $4 = image[$1] }
      !($1 in image) {
        n = split($4, member, ","); $4 = ""
        for (i = 1; i <= n; i++) if (!(member[i] in gone) && member[i] != u[1]) $4 = $4 ($4 == "" ? "" : ",") member[i]
      }
      { print }' <(of_image etc/group) "$etc/group" | rewrite "$etc/group"
    [[ ! -f $etc/gshadow ]] || awk "$begin"'
      FNR == NR { members[$1] = $4; next }
      $1 in members { $3 = ""; $4 = members[$1]; print }' "$etc/group" "$etc/gshadow" | rewrite "$etc/gshadow"
    awk "$begin"'
      $1 in gone { next }
      $1 == u[1] || $1 == "root" || $2 ~ /^!?\$/ { $2 = "*" }
      $1 == u[1] { there = 1 }
      { print }
      END { if (!there) print u[1] ":*:::::::" }' "$etc/shadow" | rewrite "$etc/shadow"
    local file
    for file in "$etc"/sub{u,g}id; do
      [[ ! -f $file ]] || awk "$begin"' !($1 in gone)' "$file" | rewrite "$file"
    done
    awk "$begin"'
      $1 in gone { next }
      $1 == u[1] { $0 = ENVIRON["user"]; there = 1 }
      { print }
      END { if (!there) print ENVIRON["user"] }' "$etc/passwd" | rewrite "$etc/passwd"
  }
}

# The images of the services stay, for the archives that they came from are gone. A
# Docker that does not start can not tell what is the owner's: all of it goes.
docker_data() {
  local kept=(image overlay2 containerd) name remove=() before=("${FAILURES[@]}")
  if wait_for_docker; then
    docker_objects || fail "Docker did not delete all that it had"
  else
    FAILURES=("${before[@]}")
    warn "all of Docker's data goes, the images of the services as well: flash the card again"
    kept=(none)
    remove=("$ROOT/var/lib/containerd")
  fi
  systemctl stop docker.socket docker.service || fail "Docker does not end"
  for name in "$docker_dir"/* "$docker_dir"/.[!.]*; do
    [[ " ${kept[*]} " == *" ${name##*/} "* ]] || remove+=("$name")
  done
  rm -rf --one-file-system "${remove[@]}" || fail "not all of Docker's data could be deleted"
}

docker_objects() {
  local references id tag
  # Docker calls those of its own registry by their short names.
  mapfile -t references < <(of_image cubeos/config/images.env | sed -nE 's#^[A-Z0-9_]*_IMAGE=(docker\.io/(library/)?)?##p')
  if [[ $(swarm_state) != inactive* ]]; then
    timeout 120 docker swarm leave --force || return
  fi
  docker ps --all --quiet --no-trunc | xargs -r docker rm --force --volumes >/dev/null || return
  docker volume ls --quiet | xargs -r docker volume rm --force >/dev/null || return
  docker network prune --force >/dev/null || return
  docker builder prune --all --force &>/dev/null || warn "what Docker has kept of builds may not be deleted"
  docker image ls --all --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | while read -r id tag; do
    if [[ " ${references[*]} " == *" $tag "* ]]; then
      continue
    elif [[ $tag == *'<none>'* ]]; then
      tag=$id
    fi
    # Some go together with others.
    docker image rm --force "$tag" >/dev/null 2>&1 || ! docker image inspect "$tag" >/dev/null 2>&1 || return
  done
}

# mounts: what is mounted anywhere, each ended by a NUL, without the first slash.
mounts() {
  local at
  while read -r _ _ _ _ at _; do
    printf '%b\0' "${at#/}"
  done <"$ROOT/proc/self/mountinfo"
}

# with_parents: paths and the directories that they are in.
with_parents() {
  local path
  while IFS= read -r -d '' path; do
    until [[ -z $path ]]; do
      printf '%s\0' "$path"
      [[ $path == */* ]] || break
      path=${path%/*}
    done
  done
}

# brought: what the image and packages have brought, or others have mounted.
brought() {
  packed | tr '\n' '\0' \
    && cat "$ROOT"/var/lib/dpkg/info/*.list | sed 's|^/||' | tr '\n' '\0' \
    && mounts | with_parents
}

delete() {
  local -x LC_ALL=C
  local at name pruned=() keep=$RUN_DIR/brought
  if ! brought | sort -zu >"$keep"; then
    fail "it is not known what packages have brought, so nothing is deleted"
    return
  fi
  for at in "$ROOT"/{,.[!.]}*; do
    name=${at##*/}
    [[ ! -e $at || -L $at || " ${places[*]} ${system[*]} " == *" $name "* ]] || places+=("$name")
  done
  while IFS= read -r -d '' at; do
    [[ -z $at ]] || pruned+=(-path "${at//[][*?\\]/?}" -prune -o)
  done < <(mounts)
  found -xdev "${pruned[@]}" | sort -zu | comm -z -23 - "$keep" | sed -z -E "\\#$stays#d" \
    | sort -zr | (cd "$ROOT/" && xargs -0 -r rm -df --) || fail "not everything of the owner's could be deleted"
}

# differs: what is not as in the image. A package's own configuration that is as the
# package has it is nobody's doing, and what is mounted is not the image's.
differs() {
  local -x LC_ALL=C
  { tar --compare --file="$factory" --directory="$ROOT/" --quoting-style=literal --numeric-owner 2>&1 || true; } \
    | sed -nE '/: Mod time differs$/d; s/^[^ :]*tar: (.*): Warning: Cannot .*/\1/p; t; s/^[^ :]*tar: (.*): Cannot .*/\1/p; t; s/^(.*): [A-Za-z ]+ differs?$/\1/p' \
    | sed -E "\\#^boot/#d; \\#$stays#d" | sort -u | comm -23 - <(of_packages | sort) \
    | awk 'FNR == NR { mounted[$0]; next }
        { for (path = $0; sub("/[^/]*$", "", path);) if (path in mounted) next; print }' <(mounts | tr '\0' '\n') -
}

of_packages() {
  (cd "$ROOT/" && { sed -nE 's|^ /(etc/[^ ]+) ([0-9a-f]{32})( .*)?$|\2  \1|p' var/lib/dpkg/status | md5sum --check 2>/dev/null || true; }) \
    | sed -n 's/: OK$//p'
}

# One after the other, each whole or not at all: this script is among them.
put_back() {
  local names name from to
  names=$(differs)
  [[ $names ]] || return 0
  rm -rf "$staging"
  install -d -m 0700 "$staging"
  tar --extract --file="$factory" --directory="$staging" --numeric-owner --preserve-permissions \
    --no-recursion --verbatim-files-from --files-from=- <<<"$names"
  sync
  while read -r name; do
    from=$staging/$name to=$ROOT/$name
    if [[ -d $from && ! -L $from ]]; then
      [[ -d $to && ! -L $to ]] || rm -f "$to"
      install -d "$to"
      chown --reference="$from" "$to"
      chmod --reference="$from" "$to"
    else
      [[ ! -d $to || -L $to ]] || rm -df "$to"
      mv -fT "$from" "$to"
    fi
  done <<<"$names"
  rm -rf "$staging"
  names=$(differs)
  [[ -z $names ]] || fail "not as in the image: ${names//$'\n'/ }"
}

files() {
  delete
  put_back
  # shellcheck disable=SC2016 # the fields are awk's
  awk 'FNR == NR { image[$2]; next } /^[[:space:]]*(#|$)/ || $2 in image' <(of_image etc/fstab) "$ROOT/etc/fstab" | rewrite "$ROOT/etc/fstab"
  : >"$ROOT/etc/machine-id"
}

# renew FILE: only what is another is written to a file system without a journal.
renew() {
  local new
  new=$(cat)
  cmp -s - "$1" <<<"$new" || write_file "$1" 0644 <<<"$new"
}

# What Raspberry Pi Imager or a person has written there. The disk's identity is in
# the kernel's command line, and may not be the image's any more.
boot_partition() {
  local file root
  if ! mountpoint --quiet "$BOOT_DIR"; then
    fail "the boot partition is not mounted, so the owner's settings there stay"
    return
  fi
  root=$(tr ' ' '\n' <"$BOOT_DIR/cmdline.txt" | grep -m 1 '^root=') || root=
  for file in "${boot_files[@]}"; do
    if ! of_image "boot/firmware/$file" >/dev/null 2>&1; then
      [[ $file == cmdline.txt ]] || rm -f "$BOOT_DIR/$file"
    elif [[ $file != cmdline.txt ]]; then
      of_image "boot/firmware/$file" | renew "$BOOT_DIR/$file"
    elif [[ $root ]]; then
      of_image boot/firmware/cmdline.txt | sed -E "s#(^| )root=[^ ]+#\\1$root#" | renew "$BOOT_DIR/cmdline.txt"
    fi
  done
  rm -f "$BOOT_DIR"/cubeos-*.txt "$BOOT_DIR"/{custom.toml,firstrun.sh,ssh,ssh.txt,userconf,userconf.txt,wpa_supplicant.conf} "$BOOT_DIR"/*.partial
}

run() {
  install -d -m 0755 "$RUN_DIR"
  if ! whole; then
    rm -f "$FACTORY_RESET_MARKER"
    die "no factory reset: what the image had is damaged (${factory#"$ROOT"}); the device stays as it is, and only flashing the card again helps"
  fi
  trap 'note_stage "done"' EXIT
  log "factory reset: what is the owner's is deleted; leave the device switched on"
  quiet
  stage reset-accounts accounts
  stage reset-docker docker_data
  stage reset-files files
  stage reset-boot-partition boot_partition
  sync
  ((${#FAILURES[@]} == 0)) || die "the factory reset is NOT complete: ${#FAILURES[@]} problem(s) above; the next boot begins anew, and until then nothing else starts"
  fstrim --all --quiet-unsupported || warn "the card was not told what is free now"
  rm -f "$FACTORY_RESET_MARKER"
  sync
  log "factory reset complete: a first boot follows"
  systemctl reboot
}

case ${1:-} in
  request | run | pack) "$1" ;;
  *) die "usage: cubeos-factory-reset request" ;;
esac
