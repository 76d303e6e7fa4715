#!/bin/bash
# cloud-init notes on the card what it has done, and what it has done may not yet
# be there: after a power cut the note can stand beside a user's SSH key that is
# an empty file, and nothing would ever repair that. So until one boot has brought
# all of it onto the card, the next one begins again; the units know when that is.
# One that was restarted in good order has lost nothing and goes on: what cloud-init
# was asked for can be a restart, and beginning again would ask for it each time.
#   cubeos-cloud-init forget    before cloud-init
#   cubeos-cloud-init pause     at shutdown
#   cubeos-cloud-init keep      after its last stage
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

notes=$ROOT/var/lib/cloud
paused=$STATE_DIR/cloud-init-paused
complete=$STATE_DIR/cloud-init-complete

case ${1:-} in
  forget)
    if [[ -e $paused ]]; then
      rm "$paused"
      log "cloud-init goes on where the device was restarted"
      exit 0
    fi
    if [[ -e $notes/instance ]]; then
      log "cloud-init was cut off: it begins again"
    fi
    # What may be done only once ever stays done, and a seed is not cloud-init's.
    if [[ -d $notes ]]; then
      find "$notes" -mindepth 1 -maxdepth 1 ! -name sem ! -name seed -exec rm -rf {} +
    fi
    ;;
  pause)
    if [[ ! -e $complete ]]; then
      sync
      date --utc +%FT%TZ | write_file "$paused" 0644
    fi
    ;;
  keep)
    sync
    date --utc +%FT%TZ | write_file "$complete" 0644
    ;;
  *)
    die "usage: cubeos-cloud-init forget|pause|keep"
    ;;
esac
