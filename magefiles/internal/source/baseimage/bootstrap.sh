#!/bin/bash
# Turns the extracted packages of a Debian into what a Raspberry Pi OS Lite
# image is to its user. Runs in the chroot. Argument: unpack or configure.
# Environment: DISK_ID, the MBR disk identifier; PACKAGES, those asked for;
# FILES_ONLY, those of them that are not installed; LIKE, debian, or what a script
# makes of it that runs next.
set -Eeuo pipefail
# shellcheck source=../../../../packer/scripts/lib.sh
. /tmp/cubeos-lib.sh

archives=/var/cache/apt/archives
updater=/usr/sbin/update-initramfs

if [[ $1 == unpack ]]; then
  # Names of owners have to be known before files are given to them.
  dpkg --install --force-depends "$archives"/base-passwd_*.deb
  dpkg --install --force-depends "$archives"/base-files_*.deb

  # Every package with something to say in the initramfs would make it again.
  dpkg-divert --local --rename --add --divert "$updater.later" "$updater"
  printf '#!/bin/sh\nexit 0\n' >"$updater"
  chmod 755 "$updater"

  # Unpacked last is what unpacks: until then it is native.
  essential=() others=()
  for archive in "$archives"/*.deb; do
    name=${archive##*/}
    name=${name%%_*}
    if [[ " $FILES_ONLY " == *" $name "* ]]; then
      # What is not in /usr/lib would run.
      dpkg-deb --fsys-tarfile "$archive" | tar --list | sed -n -E 's#^\.(/(etc|usr/share)/.*[^/])$#\1#p' | xargs rm
      rm "$archive"
      continue
    fi
    case $name in
      dpkg | tar) ;;
      *) if [[ $(dpkg-deb --field "$archive" Essential) == yes ]]; then
        essential+=("$archive")
      else
        others+=("$archive")
      fi ;;
    esac
  done
  exec dpkg --unpack --force-depends --force-confold "${others[@]}" "${essential[@]}" "$archives"/{dpkg,tar}_*.deb
fi

# Raspberry Pi OS names partitions by PARTUUID here and on the command line.
cat >/etc/fstab <<FSTAB
proc            /proc           proc    defaults          0       0
PARTUUID=$DISK_ID-01  /boot/firmware  vfat    defaults          0       2
PARTUUID=$DISK_ID-02  /               ext4    defaults,noatime  0       1
FSTAB

# Interfaces keep the kernel's names, eth0 and wlan0.
mkdir -p /etc/systemd/network
ln -sf /dev/null /etc/systemd/network/99-default.link

if [[ $LIKE == debian ]]; then
  cat >/etc/default/raspi-firmware <<FIRMWARE
ROOTPART="PARTUUID=$DISK_ID-02 rootfstype=ext4"
CONSOLES="serial0,115200 tty1"
FIRMWARE
  mkdir -p /boot/firmware
  fsck_in_initramfs
fi

host_key_placeholders
dpkg --configure --pending --force-confold

# apt would have told what was asked for from what that depends on.
mapfile -t dependencies < <(
  dpkg-query --show --showformat '${Essential} ${Priority} ${Package}\n' \
    | awk -v asked=" $PACKAGES " '$1 != "yes" && $2 != "required" && !index(asked, " " $3 " ") { print $3 }'
)
apt-mark auto "${dependencies[@]}"
apt-get check
if [[ $LIKE != debian ]]; then
  exit
fi

rm "$updater"
dpkg-divert --local --rename --remove "$updater"
# An initramfs keeps the times of its files, of which some were made just now.
SOURCE_DATE_EPOCH=0 update-initramfs -c -k all

# cloud-init reads what Raspberry Pi Imager writes to the boot partition.
mkdir -p /etc/cloud/cloud.cfg.d
cat >/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg <<CLOUD
datasource_list: [ NoCloud, None ]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware/
CLOUD
for file in user-data meta-data network-config; do
  [[ -e /boot/firmware/$file ]] || printf '# Raspberry Pi Imager replaces this file.\n' >"/boot/firmware/$file"
done
printf 'instance-id: base-image\n' >>/boot/firmware/meta-data
sed -i '1i #cloud-config' /boot/firmware/user-data

forget_build
# The resolver and host name are the build machine's.
rm -f /etc/resolv.conf
echo localhost >/etc/hostname
