# Every way to name a local value, each used before it is defined.
locals {
  a = "${local["z"]}/scripts"
  b = local["deep"].list[1]
  c = [for l in [local["a"]] : "${l}/c.sh"]
}
locals {
  z    = var["place"]
  deep = { list = ["x", local["z"]] }
}
variable "place" {
  default = "/p"
}
source "arm" "named" {
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
  sources = ["source.arm.named"]
  provisioner "shell" {
    script           = "${local.a}/a.sh"
    environment_vars = ["B=${local["b"]}", "ALL=${join(",", [for k, v in local : k])}", "Z=${local[join("", ["z"])]}"]
  }
  provisioner "shell" {
    scripts = local.c
  }
}
