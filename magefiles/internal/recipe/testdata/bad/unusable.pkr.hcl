variable "nothing" {
  type    = string
  default = null
}
variable "nul" {
  type    = string
  default = "a\u0000b" # want: has a NUL byte
}
variable "key" {
  default = "a"
}
locals {
  a = "x"
  b = local[var.key]                     # want: The local value "b" refers to all local values, and so to itself
  c = join(",", [for k, v in local : k]) # want: The local value "c" refers to all local values, and so to itself
  d = "${local["e"]}x"
  e = local["d"] # want: The local value "e" depends on itself by way of "d"
}
local "f" {
  expression = local["missing"] # want: There is no local value "missing"
}
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
    name   = var.nothing # want: "name" is null
    script = var["gone"] # want: There is no variable "gone"
  }
  provisioner "shell" {
    script = var.nothing # want: "script" is null
  }
  provisioner "shell" {
    script = "a\u0000.sh" # want: has a NUL byte
  }
  provisioner "shell" {
    script = "" # want: It has nothing to run
  }
  provisioner "shell" {
    scripts          = [for s in ["a.sh"] : s if s == "b.sh"] # want: It has nothing to run
    environment_vars = ["A=\u0000"]                           # want: has a NUL byte
  }
  provisioner "shell" {
    scripts = ["a.sh", ""] # want: The name of a script is empty
  }
  provisioner "shell" {
    inline           = var.nothing == null ? null : ["true"] # want: "inline" is null
    environment_vars = var.nothing                           # want: "environment_vars" is null
  }
  provisioner "shell" {
    inline          = ["echo \u0000"]              # want: has a NUL byte
    execute_command = "{{.Vars}} \u0000 {{.Path}}" # want: has a NUL byte
  }
  provisioner "file" {
    source      = "a\u0000"  # want: has a NUL byte
    destination = "/\u0000/" # want: has a NUL byte
  }
  provisioner "file" {
    sources     = [] # want: It has nothing to copy
    destination = "/"
  }
  provisioner "file" {
    sources     = ["a", ""] # want: The name of a source is empty
    destination = "/"
  }
  provisioner "file" {
    source      = "" # want: It has nothing to copy
    destination = "/"
  }
}
