variable "unset" { # want: The variable "unset" has no default, and no value was given
  type = string
}
variable "number" {
  type = number
}
variable "list" {
  type = list(string)
}
variable "listed" {
  type = string
  validation {
    condition     = var.listed == "earth"
    error_message = "The planet must be earth."
  }
}
variable "expression" {
  type = string
}
variable "other" {
  type      = string
  sensitive = true # want: is no place for a secret
}
variable "wrong_default" {
  type    = bool
  default = "maybe" # want: The variable "wrong_default" is a bool
}
variable "bad_default" {
  type    = number
  default = 3 # want: Must be above three. This is the rule of the variable "bad_default"
  validation {
    condition     = var.bad_default > 3
    error_message = "Must be above three."
  }
}
variable "environment" {
  default = env("HOME") # want: Function calls not allowed
}
variable "strange" { # want: The variable "strange" has no default
  type  = text # want: The keyword "text" is not a valid type specification
  color = "red" # want: An argument named "color" is not expected here
}
variable "listed" { # want: The variable "listed" is declared at
}
variable "not a name" { # want: "not a name" is no name
}
variable "two" {
  default = 2
  validation {
    condition     = var.two < var.number # want: may only refer to the variable itself
    error_message = "Must be less."
  }
  validation {
    condition     = var["two"] < 3 # want: may only refer to the variable itself, as var.two
    error_message = "Must be less."
  }
  validation {
    condition     = 1 < 2 # want: has to refer to var.two
    error_message = "Must be less."
  }
  validation {
    condition     = var.two < 3
    error_message = "no sentence" # want: Packer takes full sentences only
  }
  validation {
    condition     = "text ${var.two}" # want: The condition has to be true or false
    error_message = "Must be less."
  }
  validation { # want: The argument "error_message" is required
    condition = var.two < 3
  }
  validation {
    condition     = alltrue([var.two < 3]) # want: There is no function named "alltrue"
    error_message = "Packer 1.10 does not have that function."
  }
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
    inline = ["true", var.unset, var.strange, var.number]
  }
}
