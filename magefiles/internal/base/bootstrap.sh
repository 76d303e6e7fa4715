#!/bin/bash
# Turns a minimal Debian into what a Raspberry Pi OS Lite image is to its user.
# Runs in the chroot. Argument: tools or system, the part to install.
# Environment: DISK_ID, the MBR disk identifier.
set -Eeuo pipefail

if [[ $1 == tools ]]; then
  # What the rest's installation spends its time in: once these are in the tree,
  # their native twins can be lent.
  apt-get update
  apt-get install --yes --no-install-recommends \
    python3-minimal libpython3-stdlib openssl openssh-client kmod cpio zstd xz-utils
  exit
fi

# Raspberry Pi OS names partitions by PARTUUID in both of these.
cat >/etc/fstab <<FSTAB
proc            /proc           proc    defaults          0       0
PARTUUID=$DISK_ID-01  /boot/firmware  vfat    defaults          0       2
PARTUUID=$DISK_ID-02  /               ext4    defaults,noatime  0       1
FSTAB
cat >/etc/default/raspi-firmware <<FIRMWARE
ROOTPART="PARTUUID=$DISK_ID-02 rootfstype=ext4"
CONSOLES="serial0,115200 tty1"
FIRMWARE
mkdir -p /boot/firmware

# Interfaces keep the kernel's names, eth0 and wlan0.
mkdir -p /etc/systemd/network
ln -sf /dev/null /etc/systemd/network/99-default.link

# cloud-init reads what Raspberry Pi Imager writes to the boot partition.
mkdir -p /etc/cloud/cloud.cfg.d
cat >/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg <<CLOUD
datasource_list: [ NoCloud, None ]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware/
CLOUD

printf '%s\n' 'man-db man-db/auto-update boolean false' | debconf-set-selections

packages=(
  # the system
  systemd-sysv dbus udev kmod libpam-systemd sudo locales tzdata less nano
  e2fsprogs fdisk dosfstools ca-certificates curl zstd psmisc procps
  # the network
  network-manager openssh-server iproute2 iputils-ping netbase
  wpasupplicant rfkill iw wireless-regdb
  # first-boot customisation
  cloud-init
  # kernel and firmware of the Raspberry Pi
  initramfs-tools linux-image-arm64 raspi-firmware firmware-brcm80211
)
# Every package with something to say in the initramfs would make it anew.
updater=/usr/sbin/update-initramfs
dpkg-divert --local --rename --add --divert "$updater.later" "$updater"
printf '#!/bin/sh\nexit 0\n' >"$updater"
chmod 755 "$updater"

apt-get install --yes --no-install-recommends --option Dpkg::Options::=--force-confold "${packages[@]}"

rm "$updater"
dpkg-divert --local --rename --remove "$updater"
# An initramfs keeps the times of its files, of which some were made just now.
SOURCE_DATE_EPOCH=0 update-initramfs -c -k all

for file in user-data meta-data network-config; do
  [[ -e /boot/firmware/$file ]] || printf '# Raspberry Pi Imager replaces this file.\n' >"/boot/firmware/$file"
done
printf 'instance-id: base-image\n' >>/boot/firmware/meta-data
sed -i '1i #cloud-config' /boot/firmware/user-data

apt-get clean
rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_*_key*
: >/etc/machine-id
# The resolver and host name are the build machine's.
rm -f /var/lib/dbus/machine-id /etc/resolv.conf
echo localhost >/etc/hostname
# They hold the day an account was made and numbers of inodes.
sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\1::/' /etc/shadow
rm -f /etc/shadow- /var/cache/ldconfig/aux-cache
