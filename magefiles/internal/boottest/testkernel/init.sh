#!/bin/busybox sh
# shellcheck shell=dash
# First program of the test kernel: does what the image's own initramfs would, and
# no more. The root file system is the one that the kernel's command line names, as
# on the device. The kernel's modules are on a disk of their own and are laid over
# the directory that has the image's, so nothing is written to the card for it.
/bin/busybox mkdir -p /bin /proc /sys /dev /modules /root
/bin/busybox --install -s /bin
export PATH=/bin

give_up() {
  echo "test kernel: $*"
  echo 'Gave up waiting for root' # what the boot proof looks for
  while :; do sleep 3600; done
}

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do
  insmod "/lib/$module" || give_up "the module $module does not load"
done </lib/order

root='' type=ext4 init=/sbin/init
read -r words </proc/cmdline
for word in $words; do
  case $word in
    root=*) root=${word#root=} ;;
    rootfstype=*) type=${word#rootfstype=} ;;
    init=*) init=${word#init=} ;;
  esac
done

# partition_of PARTUUID: the card's partition of that name, DISKID-NN.
partition_of() {
  local id
  id=$(dd if=/dev/vda bs=1 skip=440 count=4 2>/dev/null | hexdump -e '1/4 "%08x"')
  if [ "$id" = "${1%-*}" ]; then
    printf '/dev/vda%d' "0x${1#*-}"
  fi
}

device=''
for second in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  if [ -b /dev/vda ]; then
    case $root in
      PARTUUID=*) device=$(partition_of "${root#PARTUUID=}") ;;
      UUID=* | LABEL=*) device=$(findfs "$root") ;;
      *) device=$root ;;
    esac
    if [ -b "$device" ]; then
      break
    fi
  fi
  sleep 1
done
[ -b "$device" ] || give_up "the card has no partition $root, looked for during $second s"
mount -t "$type" -o ro "$device" /root || give_up "$root can not be mounted"
mount -t ext4 -o ro /dev/vdb /modules || give_up "the disk with the kernel's modules can not be mounted"
mount -t overlay -o ro,lowerdir=/modules:/root/usr/lib/modules modules /root/usr/lib/modules \
  || give_up "the kernel's modules can not be laid over those of the image"
for dir in dev proc sys; do
  mount -o move "/$dir" "/root/$dir"
done
exec switch_root /root "$init"
