#!/bin/bash
# Makes of a configured Debian what looks to an image build and to a device like
# Raspberry Pi OS Lite (RPi-Distro/pi-gen, stages 0 to 2 and export-image). What
# Debian lacks is in packages of the same names, below /tmp/raspios. Runs in the
# chroot. Environment: DISK_ID, the MBR disk identifier; MIRROR and SUITE, of
# Debian.
set -Eeuo pipefail
export LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=0
# shellcheck source=../../../../packer/scripts/lib.sh
. /tmp/cubeos-lib.sh

own=/tmp/raspios
boot=/boot/firmware
archive=/usr/share/raspberrypi-archive

# An overlay of the device tree that changes nothing.
empty_overlay() {
  printf '\xd0\x0d\xfe\xed\0\0\0\x48\0\0\0\x38\0\0\0\x48\0\0\0\x28\0\0\0\x11\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\x10'
  printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x09'
}

# Sources -----------------------------------------------------------------------

dpkg --add-architecture armhf
: >/etc/apt/sources.list
cat >/etc/apt/sources.list.d/debian.sources <<SOURCES
Types: deb
URIs: $MIRROR/
Suites: $SUITE $SUITE-updates
Components: main contrib non-free non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp

Types: deb
URIs: $MIRROR-security/
Suites: $SUITE-security
Components: main contrib non-free non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp
SOURCES
# In place of archive.raspberrypi.com, without its signature.
cat >/etc/apt/sources.list.d/raspi.sources <<SOURCES
Types: deb
URIs: file:$archive/
Suites: $SUITE
Components: main
Trusted: yes
SOURCES

# Packages ----------------------------------------------------------------------

firmware=$own/packages/raspi-firmware/usr/lib/raspi-firmware
mv /usr/lib/raspi-firmware/*.elf /usr/lib/raspi-firmware/*.dat /usr/lib/raspi-firmware/bootcode.bin "$firmware/"
rm -r /usr/lib/raspi-firmware
mkdir "$firmware/overlays"
for overlay in vc4-kms-v3d nospi10 dwc2 disable-bt; do
  empty_overlay >"$firmware/overlays/$overlay.dtbo"
done

release=$archive/dists/$SUITE
mkdir -p "$archive/pool" "$release/main"/binary-{arm64,armhf}
for package in "$own"/packages/*; do
  dpkg-deb --root-owner-group --uniform-compression -Znone --build "$package" "$archive/pool/${package##*/}.deb" >/dev/null
done
for deb in "$archive"/pool/*.deb; do
  dpkg-deb --field "$deb"
  echo "Filename: pool/${deb##*/}"
  echo "Size: $(stat -c %s "$deb")"
  echo "SHA256: $(sha256sum "$deb" | cut -d ' ' -f 1)"
  echo
done | tee "$release/main/binary-arm64/Packages" >"$release/main/binary-armhf/Packages"
{
  printf '%s\n' 'Origin: Raspberry Pi Foundation' "Codename: $SUITE" 'Date: Thu, 18 Jun 2026 00:00:00 UTC' \
    'Architectures: arm64 armhf' 'Components: main' 'SHA256:'
  for list in main/binary-{arm64,armhf}/Packages; do
    echo " $(sha256sum "$release/$list" | cut -d ' ' -f 1) $(stat -c %s "$release/$list") $list"
  done
} >"$release/Release"

mkdir -p "$boot"
echo do_symlinks=0 >/etc/kernel-img.conf
rm -f /vmlinuz* /initrd.img*
dpkg --install "$archive"/pool/*.deb
apt-get check

# Kernels ------------------------------------------------------------------------

# Raspberry Pi's have no driver of an emulator's disk and network card.
for modules in /usr/lib/modules/*; do
  rm -f "$modules"/kernel/drivers/{block/virtio_blk,net/virtio_net}.ko*
  depmod "${modules##*/}"
done

# Boot partition -----------------------------------------------------------------

install -m 0755 "$own"/boot/* "$boot/"
sed -i "s/ROOTDEV/PARTUUID=$DISK_ID-02/" "$boot/cmdline.txt"
ln -sfn firmware/overlays /boot/overlays
updater=/usr/sbin/update-initramfs
rm "$updater"
dpkg-divert --local --rename --remove "$updater"
update-initramfs -c -k all
# export-image does this once the initramfs are made. A build has to cope with what
# comes of it, so it has to come.
sed -i 's/^MODULES=.*/MODULES=dep/' /etc/initramfs-tools/initramfs.conf
if mkinitramfs -o /tmp/initramfs "$(linux-version list | head -n 1)"; then
  echo 'raspios.sh: with MODULES=dep an initramfs could be made in a chroot' >&2
  exit 1
fi
rm -f /tmp/initramfs

# Settings -----------------------------------------------------------------------

sed -i 's/^# *\(en_GB.UTF-8 UTF-8\)/\1/' /etc/locale.gen
locale-gen
echo LANG=en_GB.UTF-8 >/etc/locale.conf
ln -sfn ../locale.conf /etc/default/locale
ln -sfn /usr/share/zoneinfo/Europe/London /etc/localtime
echo Europe/London >/etc/timezone
echo raspberrypi >/etc/hostname
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\n127.0.1.1\traspberrypi\n' >/etc/hosts
echo 'nameserver 8.8.8.8' >/etc/resolv.conf

useradd --uid 1000 --create-home --shell /bin/bash --user-group pi
usermod --lock pi
usermod --password '*' root
for group in input spi i2c gpio; do
  groupadd --force --system "$group"
done
for group in adm dialout cdrom audio users sudo video games plugdev input gpio spi i2c netdev render; do
  usermod --append --groups "$group" pi
done

printf '[main]\nWirelessEnabled=false\n' >/var/lib/NetworkManager/NetworkManager.state
mkdir -p /var/lib/systemd/rfkill
for adapter in 107d50c000.serial 3f215040.serial 20215040.serial fe215040.serial soc; do
  echo 0 >"/var/lib/systemd/rfkill/platform-$adapter:bluetooth"
done

sed -i -E -e 's/^( *distro:) debian$/\1 raspberry_pi_os/' -e 's/^( *name:) debian$/\1 pi/' \
  -e 's/^cloud_config_modules:$/&\n - raspberry_pi/' /etc/cloud/cloud.cfg
grep -q 'distro: raspberry_pi_os' /etc/cloud/cloud.cfg

echo 'Banner /usr/share/userconf-pi/sshd_banner' >/etc/ssh/sshd_config.d/rename_user.conf
systemctl disable --quiet ssh.service getty@tty1.service
systemctl enable --quiet userconfig.service regenerate_ssh_host_keys.service sshswitch.service \
  rpi-resize.service rpi-eeprom-update.service

forget_build
echo uninitialized >/etc/machine-id

# A base image is older than the mirror: whatever Debian has changed within the
# release by a point release or a rebuild, the mirror has in a newer version.
sed -i -E '/^(Version|Depends|Pre-Depends|Breaks|Replaces|Conflicts|Provides|Recommends|Suggests|Enhances): /{
  s/([~+]deb[0-9]+u[0-9]+(\+b[0-9]+)?)([ ),]|$)/\1~\3/g
  s/([0-9a-z.]-[0-9.]+\+b[0-9]+)([ ),]|$)/\1~\2/g
}' /var/lib/dpkg/status
apt-get check
