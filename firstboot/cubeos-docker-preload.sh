#!/bin/bash
# Loads the archives of the service images into Docker, once, and gives their
# space back. One that is broken is reported by name and the others still load.
set -Eeuo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

export_env "$IMAGES_DIR/images.env"

# load NAME: verified, loaded and known to Docker before the archive goes.
load() {
  local name=$1 archive=$IMAGES_DIR/$1.tar variable=${1^^}_IMAGE reference output
  reference=${!variable:-}
  if [[ -z $reference ]]; then
    fail "$name: $variable is not in images.env"
    return
  fi
  if ! (cd "$IMAGES_DIR" && grep -- "  $name\.tar\$" SHA256SUMS | sha256sum --check --strict --status); then
    fail "$name: $archive is damaged (its checksum is not the one in SHA256SUMS)"
    return
  fi
  # An archive that an earlier boot loaded before the power went is only removed.
  if ! image_present "$reference" && ! output=$(docker load --quiet --input "$archive" 2>&1); then
    fail "$name: docker load failed: $output"
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

load_all() {
  local archive
  for archive in "$IMAGES_DIR"/*.tar; do
    [[ -e $archive ]] || continue
    archive=${archive##*/}
    load "${archive%.tar}"
  done
}

wait_for_docker
stage images load_all
((${#FAILURES[@]} == 0)) || die "${#FAILURES[@]} image(s) not loaded; the next boot tries again"
