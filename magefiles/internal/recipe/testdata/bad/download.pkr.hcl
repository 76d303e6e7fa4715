variable "base_image_kind" {
  default = "download"
}
source "arm" "x" {
  file_urls               = ["ftp://example.org/x.img.xz"] # want: has to be an https:// URL, or an absolute path
  file_checksum           = "0000000000000000000000000000000000000000000000000000000000000000" # want: is a placeholder
  file_checksum_type      = "sha256"
  file_target_extension   = "xz"
  file_unarchive_cmd      = ["xz", "-d", "$ARCHIVE_PATH"]
  image_build_method      = "resize"
  image_path              = "x.img"
  image_size              = "4G"
  image_chroot_env        = ["PATH=/bin"]
  qemu_binary_source_path = "/usr/bin/qemu-aarch64-static"
  image_setup_extra = [
    ["cp", "--remove-destination", "/etc/resolv.conf", "$MOUNTPOINT/etc/resolv.conf"],
    ["sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' >\"$0\" && chmod 755 \"$0\"", "$MOUNTPOINT/usr/sbin/policy-rc.d"],
  ]
  additional_chroot_mounts {
    mount_type       = "tmpfs"
    source_path      = "tmpfs"
    destination_path = "/run"
  }
  image_partitions {
    name         = "boot"
    type         = "c"
    start_sector = 2048
    size         = "64M"
    filesystem   = "vfat"
    mountpoint   = "/boot/firmware"
  }
  image_partitions {
    name         = "root"
    type         = "83"
    start_sector = 133120
    size         = "0"
    filesystem   = "ext4"
    mountpoint   = "/"
  }
}
build {
  sources = ["source.arm.x"]
  provisioner "shell" {
    inline = ["true"]
  }
}
