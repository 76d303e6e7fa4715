source "arm" "x" {
  file_urls               = ["https://example.org/x.img.xz"]
  file_checksum           = "acff736ca7945e3b305f07cda4abdb870910e12634991da69783611756e381b3"
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
    name         = "first" # want: "name" has to be boot here, not "first"
    type         = "c"
    start_sector = 16384
    size         = "4194305K"
    filesystem   = "vfat"
    mountpoint   = "/boot/firmware"
  }
  image_partitions {
    name         = "root"
    type         = "83"
    start_sector = 32768 # want: starts at sector 32768, but the one before it ends at sector 8404993
    size         = "2G" # want: its size has to be 0, not "2G"
    filesystem   = "ext4"
    mountpoint   = "/"
  }
  image_partitions { # want: a boot and a root partition here, and no other
    name         = "data"
    type         = "83"
    start_sector = 16777216
    size         = "1M"
    filesystem   = "ext4"
    mountpoint   = "/data"
  }
}
build {
  sources = ["source.arm.x"]
  provisioner "shell" {
    inline = ["true"]
  }
}
