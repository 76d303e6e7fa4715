#!/bin/bash
# Grows the root partition and its file system to the end of the card. Runs at
# every boot and does what is left to do: the partition table is one sector, the
# file system's own journal covers the rest.
set -Eeuo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# growpart takes less than this for "no room".
fudge_sectors=2048

read_number() { cat "$ROOT/sys/class/block/$1"; }

device=$(findmnt --noheadings --output SOURCE /)
partition=${device##*/}
if [[ ! -e $ROOT/sys/class/block/$partition/partition ]]; then
  log "the root file system is on $device, not on a partition: not growing it"
  exit 0
fi
disk=$(basename "$(dirname "$(readlink -f "$ROOT/sys/class/block/$partition")")")
number=$(read_number "$partition/partition")
room=$(($(read_number "$disk/size") - $(read_number "$partition/start") - $(read_number "$partition/size")))

if ((room > fudge_sectors)); then
  log "growing partition $number of $disk by $((room / 2048)) MiB"
  result=0
  growpart "/dev/$disk" "$number" || result=$?
  # 1 is growpart's "nothing changed".
  ((result <= 1)) || die "growpart failed on /dev/$disk: the card keeps its size of $(read_number "$partition/size") sectors"
  sync
fi
resize2fs "$device"
read -r size free < <(df --block-size=1M --output=size,avail "${ROOT:-/}" | tail -n 1)
log "the root file system has $size MiB, $free MiB of them free"
