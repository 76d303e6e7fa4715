source "arm" "x" { # want: The partitions need more than the image_size of 4G
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
  image_partitions {
    name         = "boot"
    type         = "c"
    start_sector = 16384
    size         = "4G"
    filesystem   = "vfat"
    mountpoint   = "/"
  }
  image_partitions { # want: Only the last partition can take all that is left | starts at sector 32768, but the one before it ends at sector 8404991
    name         = "early"
    type         = "83"
    start_sector = 32768
    size         = "0"
    filesystem   = "ext4"
    mountpoint   = "/data"
  }
  image_partitions { # want: / is the mount point of the partition at
    name         = "root"
    type         = "83"
    start_sector = 16777216
    size         = "1M"
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
