source "qemu" "x" { # want: The "qemu" builder is part of Packer's language
  disk = 1
}
build {
  sources = ["source.arm.x"]
  provisioner "shell" {
    inline = ["true"]
  }
}
