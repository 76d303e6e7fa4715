#!/bin/bash
# Host name, locale, time zone, the user, the packages everything else needs, and
# whether security updates are installed without asking.
set -Eeuo pipefail
trap 'echo "01-base-setup.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

: "${CUBEOS_HOSTNAME:?}" "${CUBEOS_USER:?}" "${CUBEOS_LOCALE:?}" "${CUBEOS_TIMEZONE:?}"
: "${CUBEOS_UNATTENDED_UPGRADES:?}"

# shellcheck source=lib.sh
. /tmp/cubeos-lib.sh

# Indexing manual pages takes minutes under emulation and nobody reads them on
# the device.
rm -f /var/lib/man-db/auto-update

fsck_in_initramfs
# Raspberry Pi OS's is for the machine that makes it: in a chroot, where no machine
# can be found, making it fails, and with it each package that has a say in it.
# Nothing makes it again until 03-docker.sh does.
echo MODULES=most >/etc/initramfs-tools/conf.d/modules
update_initramfs no

# What can not be reached would be passed over, and the image be one of old packages.
# Of Raspberry Pi OS's second architecture nothing is installed.
apt-get update -q -o APT::Update::Error-Mode=any -o APT::Architectures="$(dpkg --print-architecture)"

packages=(ca-certificates cloud-guest-utils curl e2fsprogs fail2ban fdisk iproute2 jq kmod
  nftables openssh-server procps python3-systemd rfkill sudo systemd-timesyncd
  systemd-zram-generator tzdata util-linux)
if [[ $CUBEOS_LOCALE != C.UTF-8 ]]; then
  packages+=(locales)
fi
if [[ $CUBEOS_UNATTENDED_UPGRADES == true ]]; then
  packages+=(unattended-upgrades)
fi

host_key_placeholders
apt_install "${packages[@]}"
find /etc/ssh -name 'ssh_host_*_key' -empty -delete

if [[ ! -f /usr/share/zoneinfo/$CUBEOS_TIMEZONE ]]; then
  echo "01-base-setup.sh: time zone $CUBEOS_TIMEZONE is not in /usr/share/zoneinfo" >&2
  exit 2
fi
ln -sfn "/usr/share/zoneinfo/$CUBEOS_TIMEZONE" /etc/localtime
echo "$CUBEOS_TIMEZONE" >/etc/timezone

if [[ $CUBEOS_LOCALE != C.UTF-8 ]] \
  && ! locale -a | tr '[:upper:]' '[:lower:]' | tr -d - | grep -qxF "$(tr '[:upper:]' '[:lower:]' <<<"$CUBEOS_LOCALE" | tr -d -)"; then
  echo "$CUBEOS_LOCALE UTF-8" >/etc/locale.gen
  locale-gen
fi
# /etc/default/locale is a symbolic link to this file on trixie.
echo "LANG=$CUBEOS_LOCALE" >/etc/locale.conf
ln -sfn ../locale.conf /etc/default/locale

echo "$CUBEOS_HOSTNAME" >/etc/hostname
{
  echo '127.0.0.1 localhost'
  echo "127.0.1.1 $CUBEOS_HOSTNAME"
  echo '::1 localhost ip6-localhost ip6-loopback'
  echo 'ff02::1 ip6-allnodes'
  echo 'ff02::2 ip6-allrouters'
} >/etc/hosts

# Raspberry Pi OS brings a first user (pi, 1000) that its tools expect to be the
# device's user: give it our name instead of leaving a second account behind.
first_user=$(getent passwd 1000 | cut -d: -f1 || true)
if ! id -u "$CUBEOS_USER" >/dev/null 2>&1; then
  if [[ -n $first_user ]]; then
    usermod --login "$CUBEOS_USER" --home "/home/$CUBEOS_USER" --move-home --shell /bin/bash "$first_user"
    if getent group "$first_user" >/dev/null; then
      groupmod --new-name "$CUBEOS_USER" "$first_user"
    fi
    sed -i "s/^$first_user:/$CUBEOS_USER:/" /etc/subuid /etc/subgid
    rm -f "/etc/sudoers.d/010_$first_user-nopasswd"
  else
    useradd --create-home --shell /bin/bash --user-group "$CUBEOS_USER"
  fi
fi
# "*" never matches a password, yet does not lock the account as "!" would for
# an sshd without PAM.
usermod --password '*' "$CUBEOS_USER"
usermod --password '*' root
for group in sudo adm dialout video plugdev netdev gpio i2c spi systemd-journal; do
  if getent group "$group" >/dev/null; then
    usermod --append --groups "$group" "$CUBEOS_USER"
  fi
done

# Raspberry Pi OS brings NFS, whose port mapper listens to every network.
off rpcbind.service rpcbind.socket nfs-blkmap.service

if [[ $CUBEOS_UNATTENDED_UPGRADES == true ]]; then
  if ! grep -rqs -e '-security' /etc/apt/sources.list /etc/apt/sources.list.d; then
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    {
      echo 'Types: deb'
      echo 'URIs: http://deb.debian.org/debian-security'
      echo "Suites: $codename-security"
      echo 'Components: main'
      echo 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg'
    } >/etc/apt/sources.list.d/debian-security.sources
  fi
  systemctl enable --quiet apt-daily.timer apt-daily-upgrade.timer
else
  # Package lists are no reason to wake an offline device.
  off apt-daily.timer apt-daily-upgrade.timer
fi
systemctl enable --quiet fail2ban.service
