variable "known" {
  default = "x"
}
locals {
  a = local.c
  b = local.a          # want: The local value "b" depends on itself by way of "a"
  c = "${local.b}x"
  d = var.missing      # want: There is no variable "missing"
  e = timestamp()      # want: There is no function named "timestamp"
  f = lower(1, 2)      # want: Function "lower" expects only 1 argument(s)
  g = var.known.length # want: Unsupported attribute
  h = nothing.at_all   # want: There is no variable named "nothing"
}
local "a" { # want: The local value "a" is defined at
  expression = 1
}
local "i" { # want: The argument "expression" is required
}
local "j" {
  expression = "x"
  sensitive  = true # want: "sensitive" is part of Packer's language
}
source "arm" "x" {
  file_urls               = ["https://example.org/x.img.xz"]
  file_checksum           = "acff736ca7945e3b305f07cda4abdb870910e12634991da69783611756e381b3"
  file_checksum_type      = "sha256"
  file_target_extension   = "xz"
  file_unarchive_cmd      = ["xz", "-d", "$ARCHIVE_PATH"]
  image_build_method      = "resize"
  image_path              = "${path.home}/x.img" # want: This object does not have an attribute named "home"
  image_size              = var.size # want: There is no variable "size"
  image_chroot_env        = ["A=${local.nowhere}"] # want: There is no local value "nowhere"
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
    inline = [local.d, local.e, build.ID, source.name] # want: There is no variable named "build"
  }
  provisioner "shell" {
    script           = var.gone # want: There is no variable "gone"
    environment_vars = ["A=${var.gone}"] # want: There is no variable "gone"
  }
  provisioner "file" {
    source      = "${var.gone}/x" # want: There is no variable "gone"
    destination = local.d
  }
}
