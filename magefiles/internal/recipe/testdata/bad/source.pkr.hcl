source "arm" "x" { # want: The argument "qemu_binary_source_path" is required | is needed once, for that, and there are 2
  file_urls                    = ["https://example.org/a", "https://example.org/b"] # want: has to name one file, not 2
  file_checksum                = "ACFF736CA7945E3B305F07CDA4ABDB870910E12634991DA69783611756E381B3" # want: 64 lower-case hexadecimal digits
  file_checksum_type           = "md5" # want: "file_checksum_type" has to be sha256 here, not "md5"
  file_checksum_url            = "https://example.org/sums" # want: "file_checksum_url" of the arm source
  file_target_extension        = "zip" # want: has to be xz or img here, not "zip"
  file_unarchive_cmd           = ["tar", "$ARCHIVE"] # want: "$ARCHIVE_PATH" one of them | it knows $ARCHIVE_PATH and $TMP_DIR, not "$ARCHIVE"
  image_build_method           = "new" # want: has to be resize here
  image_type                   = "gpt" # want: has to be dos here
  image_path                   = "" # want: "image_path" is empty
  image_size                   = "8GB" # want: a size such as 8G, not "8GB"
  image_size_bytes             = 5 # want: "image_size_bytes" of the arm source
  image_chroot_env             = ["PATH"] # want: "PATH" is not in the format KEY=value
  image_setup_extra            = [["true"]] # want: "image_setup_extra" has to be
  qemu_binary_destination_path = "qemu" # want: has to be an absolute path, not "qemu"
  image_flavour                = "sweet" # want: An argument named "image_flavour" is not expected here
  image_chroot_mounts { # want: "image_chroot_mounts" of the arm source
  }
  additional_chroot_mounts {
    mount_type       = "bind" # want: "mount_type" has to be tmpfs here, not "bind"
    source_path      = "/home" # want: "source_path" has to be tmpfs here, not "/home"
    destination_path = "/run"
  }
  additional_chroot_mounts {
    mount_type       = "tmpfs"
    source_path      = "tmpfs"
    destination_path = "/tmp" # want: "destination_path" has to be /run here, not "/tmp"
  }
  image_partitions {
    name                    = "boot"
    type                    = "83" # want: "type" has to be c or b or e here, not "83"
    start_sector            = 0 # want: has to be above 0
    size                    = "half" # want: a size such as 512M, or 0 for all that is left
    filesystem              = "vfat"
    filesystem_make_options = ["-n", "x"] # want: "filesystem_make_options" of a partition
    mountpoint              = "/boot" # want: "mountpoint" has to be /boot/firmware here, not "/boot"
  }
  image_partitions { # want: The argument "size" is required
    name         = "root"
    type         = "83"
    start_sector = "first" # want: Inappropriate value for attribute "start_sector": a number is required
    filesystem   = "btrfs" # want: "filesystem" has to be ext4 here, not "btrfs"
    mountpoint   = "/"
  }
}
build {
  sources = ["source.arm.x"]
  provisioner "shell" {
    inline = ["true"]
  }
}
