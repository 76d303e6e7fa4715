#!/bin/bash
# Decides which way this boot goes and says so in /run/cubeos/boot-mode. The
# first boot lasts until it has once gone through to its end, however often the
# power goes in between.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

if [[ -e $FIRST_BOOT_MARKER ]]; then
  mode=normal
else
  mode=first
fi
install -d -m 0755 "$RUN_DIR"
echo "$mode" >"$RUN_DIR/boot-mode"
log "boot mode: $mode"
