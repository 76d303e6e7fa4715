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
  sources = ["source.arm.other"] # want: exactly one source here: ["source.arm.x"]
  colour  = "red"                # want: An argument named "colour" is not expected here
  name    = "x"                  # want: "name" of a build

  source "arm.x" { # want: "source" in a build is part of Packer's language
  }
  provisioner "ansible" { # want: The "ansible" provisioner
  }
  provisioner "shell-local" { # want: The "shell-local" provisioner
    inline = ["true"]
  }
  error-cleanup-provisioner "shell" { # want: "error-cleanup-provisioner" in a build
  }
  post-processor "checksum" { # want: "post-processor" in a build
  }
  post-processors { # want: "post-processors" in a build
  }

  provisioner "shell" { # want: Set one of "script", "scripts" and "inline"; 0 of them are
  }
  provisioner "shell" { # want: Set one of "script", "scripts" and "inline"; 2 of them are
    script = "a.sh"
    inline = ["true"]
  }
  provisioner "shell" {
    scripts = [] # want: It has nothing to run
  }
  provisioner "shell" {
    inline       = ["docker ps --format '{{.Names}}'"] # want: Packer evaluates "{{" in "inline" as a Go template
    pause_before = "5s" # want: "pause_before" of a shell provisioner
    only         = ["arm.x"] # want: "only" of a shell provisioner
    except       = ["arm.x"] # want: "except" of a shell provisioner
    max_retries  = 2 # want: "max_retries" of a shell provisioner
    remote_path  = "/x" # want: "remote_path" of a shell provisioner
    loudly       = true # want: An argument named "loudly" is not expected here
    dynamic "x" { # want: Blocks of type "dynamic" are not expected here
    }
  }
  provisioner "shell" {
    inline = "true" # want: Inappropriate value for attribute "inline"
    environment_vars = [ # want: Packer evaluates "{{" in "environment_vars"
      "GOOD=1",
      "no equals sign", # want: "no equals sign" is not in the format KEY=value
      "1A=x",           # want: "1A=x" is not in the format
      "=x",             # want: "=x" is not in the format
      "HOME_DIR=$HOME", # want: the build machine's shell expand the '$'
      "NOW=`date`",     # want: the build machine's shell expand the '`'
      "LINES=a\nb",    # want: The character '\n'
      "TEMPLATE={{x}}",
    ]
  }
  provisioner "shell" {
    inline          = ["true"]
    execute_command = "{{.Nothing}} {{.Path}}" # want: filling in execute_command
  }
  provisioner "shell" {
    inline          = ["true"]
    execute_command = "{{.Path" # want: reading execute_command
  }
  provisioner "shell" {
    inline          = ["true"]
    execute_command = "$SHELL {{.Path}}" # want: the build machine's shell expand the '$'
  }
  provisioner "file" { # want: It has no "source" or "sources" | The argument "destination" is required
  }
  provisioner "file" {
    source      = "it's" # want: can not copy from a path with quotes
    destination = "here" # want: has to be an absolute path of plain characters, not "here"
    direction   = "download" # want: The direction "download"
    generated   = true # want: "generated" of a file provisioner
  }
  provisioner "file" {
    sources     = ["a", "b"]
    destination = "/etc" # want: end "destination" with a slash
  }
  provisioner "file" {
    content     = "text" # want: "content" of a file provisioner
    source      = "a"
    destination = "/etc/../x y" # want: plain characters
  }
}
