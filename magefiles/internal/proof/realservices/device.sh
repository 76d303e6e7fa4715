#!/bin/bash
# device.sh DEVICE IMAGES SCRIPTS VERSION: makes in DEVICE, a root directory, what a
# device has when its services first start, by the scripts that make it there:
# IMAGES has the archives, SCRIPTS the provisioners. They run in a view of this
# machine's root that has the device's directories in their places.
#
# DEVICE/settings then has the variables of compose files, with a NUL after each,
# and DEVICE/secrets a file for each secret of Swarm's.
set -Eeuo pipefail

device=$1 images=$2 scripts=$3 version=$4
view=$device.view
install -d "$view" "$device/secrets" "$device/cubeos/apps" "$device/cubeos/data" "$device/cubeos/mounts"
mount -t tmpfs none "$view"
mkdir "$view/up" "$view/work" "$view/root"
# From there, since a path may have a comma.
(cd "$view" && mount -t overlay -o lowerdir=/,upperdir=up,workdir=work none root)
for path in /dev /proc; do
  mount --rbind "$path" "$view/root$path"
done
for path in /cubeos /usr/local/share/cubeos /usr/local/lib/cubeos; do
  mkdir -p "$view/root$path" "$device$path"
  mount --bind "$device$path" "$view/root$path"
done
mkdir -p "$view/root/var/lib/cubeos/images" "$view/root/run/cubeos" "$view/root/mnt"
mount --bind "$images" "$view/root/var/lib/cubeos/images"
mount --bind "$device" "$view/root/mnt"
install "$scripts/05-docker-preload.sh" "$view/root/run/docker-preload.sh"
printf 'CUBEOS_VERSION=%s\n' "$version" >"$view/root/etc/cubeos-release"

exec chroot "$view/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" bash -eu <<'INSIDE'
bash /run/docker-preload.sh
bash /usr/local/lib/cubeos/cubeos-generate-secrets.sh
bash /usr/local/lib/cubeos/cubeos-pihole-files.sh
. /usr/local/lib/cubeos/lib.sh
export_config
env -0 >/mnt/settings
ensure_swarm() { :; }
ensure_swarm_secret() { printf %s "$2" >"/mnt/secrets/$1"; }
swarm
INSIDE
