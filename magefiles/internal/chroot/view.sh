# shellcheck shell=sh
# Arguments: overlay options or one directory, mount point of the root, mount
# point of the boot files, the boot directory inside the root, then a command.
options=$1 root=$2 boot=$3 boot_dir=$4
shift 4
case $options in
  # As in chroot.sh: the newer interface has no room for long options.
  lowerdir=*) LIBMOUNT_FORCE_MOUNT2=always mount -t overlay -o "ro,$options" overlay "$root" ;;
  *) mount --bind "$options" "$root" ;;
esac
mount --bind "$root/$boot_dir" "$boot"
mount -t tmpfs -o mode=755 tmpfs "$root/$boot_dir"
exec "$@"
