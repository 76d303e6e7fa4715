#!/bin/bash
# Loads the archives of the service images into Docker, once, and gives their
# space back. One that is broken is reported by name and the others still load.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

export_env "$IMAGES_DIR/images.env"

# no_room NAME: what is full, and what to do.
no_room() {
  local free size
  free=$(df --output=avail --block-size=1M "$IMAGES_DIR" | tail -n 1)
  size=$(df --output=size --block-size=1M "$IMAGES_DIR" | tail -n 1)
  fail "$1: the card is full: $((free)) MiB of the root file system's $((size)) MiB are free, too few to unpack a $(($(stat -c %s "$IMAGES_DIR/$1.tar") >> 20)) MiB archive; use a larger card, or delete what is not needed and restart"
}

# load NAME: verified, loaded and on the card before the archive goes.
load() {
  local name=$1 archive=$IMAGES_DIR/$1.tar reference output
  reference=$(image_of "$name")
  if [[ -z $reference ]]; then
    fail "$name: $(image_variable "$name") is not in images.env"
    return
  fi
  if ! (cd "$IMAGES_DIR" && grep -- "  $name\.tar\$" SHA256SUMS | sha256sum --check --strict --status); then
    fail "$name: $archive is damaged (its checksum is not the one in SHA256SUMS); flash the card again"
    return
  fi
  # Where the power went before the archive did, files of the image may be empty.
  if image_present "$reference"; then
    docker image rm --force "$reference" >/dev/null || warn "$name: the half-loaded $reference stays"
  fi
  if ! output=$(docker load --quiet --input "$archive" 2>&1); then
    case $output in
      *'no space left on device'*) no_room "$name" ;;
      *) fail "$name: docker load failed: $output" ;;
    esac
    return
  fi
  if ! image_present "$reference"; then
    fail "$name: $archive does not hold $reference"
    return
  fi
  sync
  rm -f "$archive"
  log "loaded $reference"
}

# The smallest first: each that goes makes room for the next.
load_all() {
  local archive
  while read -r archive; do
    load "${archive%.tar}"
  done < <(cd "$IMAGES_DIR" && find . -maxdepth 1 -name '*.tar' -printf '%s %f\n' | sort -n | cut -d ' ' -f 2)
}

wait_for_docker || die "the service images are not loaded; the next boot tries again"
stage images load_all
((${#FAILURES[@]} == 0)) || die "${#FAILURES[@]} image(s) not loaded; the next boot tries again"
