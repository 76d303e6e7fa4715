#!/bin/bash
# cloud-init notes on the card what it has done, and what it has done may not yet
# be there: after a power cut the note can stand beside a user's SSH key that is
# an empty file, and nothing would ever repair that. So until one boot has brought
# all of it onto the card, the next one begins again; the units know when that is.
#   cubeos-cloud-init forget    before cloud-init
#   cubeos-cloud-init keep      after its last stage
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

notes=$ROOT/var/lib/cloud

case ${1:-} in
  forget)
    if [[ -e $notes/instance ]]; then
      log "cloud-init was cut off: it begins again"
    fi
    # What may be done only once ever stays done, and a seed is not cloud-init's.
    find "$notes" -mindepth 1 -maxdepth 1 ! -name sem ! -name seed -exec rm -rf {} +
    ;;
  keep)
    sync
    date --utc +%FT%TZ | write_file "$STATE_DIR/cloud-init-complete" 0644
    ;;
  *)
    die "usage: cubeos-cloud-init forget|keep"
    ;;
esac
