variable "greeting" {
  type        = string
  description = "Set by the default, the var-file and the argument."
  default     = "default"
}
variable "flag" {
  type    = bool
  default = false
}
variable "count" {
  type    = number
  default = 1
}
variable "names" {
  type    = list(string)
  default = []
}
variable "limits" {
  type    = map(number)
  default = { memory = 1, disk = 2 }
}
variable "machine" {
  type    = object({ name = string, cores = number })
  default = { name = "pi", cores = 4 }
}
variable "untyped" {
  default = ["a", 1]
}
variable "nothing" {
  type    = string
  default = null
}
variable "word" {
  type    = string
  default = "speech"
}

locals {
  last  = "${local.first}!"
  first = upper(var.greeting)
  shout = [for n in var.names : upper(n) if n != "nobody"]
}

local "token" {
  expression = "${var.word}-token"
}

source "arm" "all" {
  file_urls               = ["https://example.org/${source.name}.img"]
  file_checksum           = "acff736ca7945e3b305f07cda4abdb870910e12634991da69783611756e381b3"
  file_checksum_type      = "sha256"
  file_target_extension   = var.flag ? "img" : "xz"
  file_unarchive_cmd      = ["xz", "-d", "$ARCHIVE_PATH"]
  image_build_method      = "resize"
  image_path              = "${path.cwd}/out/all.img"
  image_size              = "2G"
  image_chroot_env        = ["PATH=/bin", "TOKEN=${local.token}"]
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
    start_sector = "133120"
    size         = 0
    filesystem   = "ext4"
    mountpoint   = "/"
  }
}

build {
  sources = ["source.arm.all"]

  provisioner "shell" {
    name   = "one"
    script = "scripts/one.sh"
    environment_vars = [
      "Z=last",
      "A=${local.last}",
      "Z=wins",
      "BUILD=${source.type}.${source.name}",
      "PACKER_BUILD_NAME=mine",
      "EQUALS=a=b=c",
      "EMPTY=",
      "BOTH=${var.word} and ${local.token}",
    ]
    execute_command = "env {{.Vars}} bash '{{ .Path }}'"
  }
  provisioner "shell" {
    scripts = [for n in var.names : "${path.root}/scripts/${n}.sh"]
  }
  provisioner "shell" {
    inline = concat(["echo ${join(",", local.shout)}"], ["echo ${var.limits["disk"]} ${var.machine.cores} ${var.untyped[1]}"])
  }
  provisioner "file" {
    source      = "${path.root}/files/"
    destination = "/"
    direction   = "upload"
  }
  provisioner "file" {
    sources     = ["a.txt", "/abs/b.txt"]
    destination = "/etc/"
  }
}
