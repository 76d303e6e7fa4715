#!/bin/bash
# Gives Pi-hole the files that it has to find when it starts: its first settings,
# and the database of what it blocks, which without the Internet it tries to make
# for minutes before it answers anybody. What is there stays.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

shipped=$ROOT/usr/local/share/cubeos/pihole
dir=$COREAPPS_DIR/pihole/appdata/etc-pihole

install -d -m 0755 "$dir"
for file in pihole.toml gravity.db; do
  if [[ ! -s $dir/$file ]]; then
    write_file "$dir/$file" 0644 <"$shipped/$file"
    log "Pi-hole has a new $file"
  fi
done
