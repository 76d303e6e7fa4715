# shellcheck shell=sh
# Arguments: overlay options, mount point, host name, pairs of a directory and
# where to show it read-only, "--", then a command.
options=$1 root=$2 hostname=$3
shift 3
trap 'exit 143' TERM
mkdir -p "$root"
# By the kernel's newer interface, which mount prefers since util-linux 2.39, an
# option has no room for more than 255 characters.
LIBMOUNT_FORCE_MOUNT2=always mount -t overlay -o "$options" overlay "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mkdir -m 1777 "$root/run/lock"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts"
mkdir -m 1777 "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  mount -o remount,bind,ro "$root$2"
  shift 2
done
shift
hostname "$hostname"
umask 022
# Process 1 stays outside the chroot: systemctl and ischroot recognise a chroot
# by the root directory of process 1 being another one than theirs. To read
# that, they may have no fewer capabilities than it has.
drop=-sys_module,-sys_rawio,-sys_time,-sys_boot,-sys_admin,-sys_ptrace,-sys_pacct,-syslog,-wake_alarm,-mac_admin,-mac_override,-audit_control,-audit_read,-bpf,-perfmon,-mknod,-net_admin,-linux_immutable
# shellcheck disable=SC2016 # expanded by the inner shell
exec setpriv --bounding-set "$drop" sh -c 'trap "exit 143" TERM; chroot "$@"; exit $?' chroot "$root" "$@"
