# CubeOS for Raspberry Pi 4 and 5: the recipe.
#
# This is a Packer template for the `arm` builder of
# mkaczanowski/packer-builder-arm. The builder's container brings that plugin
# along, so there is no required_plugins block. The embedded engine reads this
# same file (magefiles/internal/recipe). A profile is a var-file beside it and
# holds values only:
#
#   packer build -var-file=packer/pios.pkrvars.hcl -var version=1.2.3 packer/cubeos.pkr.hcl

# What is built ---------------------------------------------------------------

variable "version" {
  type        = string
  description = "Version of the release. It is part of the artifact's name and of /etc/cubeos-release."
  validation {
    condition     = can(regex("^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?(\\+[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$", var.version)) && length(var.version) <= 64
    error_message = "The version must be MAJOR.MINOR.PATCH, as in 1.2.3 or 1.2.3-rc.1, of at most 64 characters and without a leading v."
  }
}

variable "profile" {
  type        = string
  description = "Name of the profile, the same as its var-file's: PROFILE.pkrvars.hcl."
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.profile))
    error_message = "The profile must be a lower-case name, as in pios."
  }
}

variable "image_name" {
  type        = string
  description = "First part of the artifacts' names: IMAGE_NAME-VERSION-arm64.img. No two profiles have the same."
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*$", var.image_name))
    error_message = "The image name must be words of lower-case letters and digits joined by hyphens, as in cubeos-lab."
  }
}

variable "image_size" {
  type        = string
  description = "Raw size Packer grows the base image to before it provisions it, in qemu-img's units (G = GiB). The embedded engine makes the image as large as its content needs."
  default     = "8G"
  validation {
    condition     = can(regex("^[1-9][0-9]*[MGT]$", var.image_size))
    error_message = "The image size must be a whole number followed by M, G or T, as in 8G."
  }
}

variable "image_headroom" {
  type        = number
  description = "Free space in MiB that the embedded engine leaves in the root file system: what the first boot writes before it has grown the partition."
  default     = 256
  validation {
    condition     = var.image_headroom >= 64 && var.image_headroom <= 4096 && floor(var.image_headroom) == var.image_headroom
    error_message = "The headroom must be a whole number of MiB from 64 to 4096."
  }
}

# Base image ------------------------------------------------------------------

variable "base_image_kind" {
  type        = string
  description = "Where the base image comes from: `download` fetches base_image_url; `bootstrap` makes it from debian_mirror in Raspberry Pi OS's layout."
  validation {
    condition     = contains(["download", "bootstrap"], var.base_image_kind)
    error_message = "The kind of base image must be download or bootstrap."
  }
}

variable "base_image_like" {
  type        = string
  description = "What a bootstrapped base image is like: `debian` has little more than a build needs; `raspios` behaves to a build and at first boot like Raspberry Pi OS Lite."
  default     = "debian"
  validation {
    condition     = contains(["debian", "raspios"], var.base_image_like)
    error_message = "A bootstrapped base image must be like debian or raspios."
  }
}

variable "base_image_url" {
  type        = string
  description = "URL or path of the base image. Empty in a profile whose base image is bootstrapped: the build fills it in once it is made."
  default     = ""
  validation {
    condition     = can(regex("^(https://\\S+|/\\S+|file:///\\S+)?$", var.base_image_url))
    error_message = "The base image must be an https:// URL or an absolute path without spaces."
  }
}

variable "base_image_sha256" {
  type        = string
  description = "SHA-256 of the base image as downloaded, so of the .xz where it is one. Empty only together with base_image_url."
  default     = ""
  validation {
    condition     = can(regex("^([0-9a-f]{64})?$", var.base_image_sha256))
    error_message = "The SHA-256 of the base image must be 64 lower-case hexadecimal digits."
  }
}

variable "base_image_format" {
  type        = string
  description = "How the file behind base_image_url is packed: `xz`, or `raw` for an image as it is."
  default     = "xz"
  validation {
    condition     = contains(["xz", "raw"], var.base_image_format)
    error_message = "The format of the base image must be xz or raw."
  }
}

variable "debian_suite" {
  type        = string
  description = "Debian suite the image is based on. A bootstrapped base image is made of it, and the native programs of the build come from it."
  default     = "trixie"
  validation {
    condition     = can(regex("^[a-z]+$", var.debian_suite))
    error_message = "The Debian suite must be a code name, as in trixie."
  }
}

variable "debian_mirror" {
  type        = string
  description = "Mirror the Debian packages of the build come from. apt verifies signatures, so plain http is safe."
  default     = "http://deb.debian.org/debian"
  validation {
    condition     = can(regex("^https?://\\S+$", var.debian_mirror))
    error_message = "The Debian mirror must be an http:// or https:// URL."
  }
}

# What goes into it -----------------------------------------------------------

variable "docker_source" {
  type        = string
  description = "Packages that provide Docker: `docker-ce` from docker_ce_url, or `debian` for Debian's own docker.io."
  validation {
    condition     = contains(["docker-ce", "debian"], var.docker_source)
    error_message = "The Docker source must be docker-ce or debian."
  }
}

variable "docker_ce_url" {
  type        = string
  description = "Docker's apt repository. Its signing key is expected at URL/gpg."
  default     = "https://download.docker.com/linux/debian"
  validation {
    condition     = can(regex("^https://\\S+[^/]$", var.docker_ce_url))
    error_message = "Docker's repository must be an https:// URL without a slash at its end."
  }
}

variable "docker_ce_key_fingerprint" {
  type        = string
  description = "Fingerprint of the only key trusted to sign Docker's apt repository, as Docker publishes it."
  default     = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
  validation {
    condition     = can(regex("^[0-9A-F]{40}$", var.docker_ce_key_fingerprint))
    error_message = "The fingerprint must be 40 upper-case hexadecimal digits without spaces."
  }
}

variable "container_source" {
  type        = string
  description = "Where the container images come from: `registry` pulls what skopeo/images.txt names; `stand-ins` are built here and answer on the same ports."
  default     = "registry"
  validation {
    condition     = contains(["registry", "stand-ins"], var.container_source)
    error_message = "The source of container images must be registry or stand-ins."
  }
}

variable "container_images" {
  type        = string
  description = "Directory, relative to the repository, of the container images that are preloaded: NAME.tar, SHA256SUMS and images.env."
  validation {
    condition     = can(regex("^[^/ ](\\S*[^/ ])?$", var.container_images))
    error_message = "The directory of container images must be a relative path without a slash at its end."
  }
}

variable "optional_services" {
  type        = list(string)
  description = "Names of the optional services of services.json that this profile has besides the others."
  default     = []
  validation {
    condition     = length([for s in var.optional_services : s if can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", s))]) == length(var.optional_services)
    error_message = "The optional services must be names of services.json, as in registry."
  }
}

variable "hostname" {
  type        = string
  description = "Host name of a freshly flashed device."
  default     = "cubeos"
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.hostname))
    error_message = "The host name must be one label of lower-case letters, digits and hyphens."
  }
}

variable "cubeos_user" {
  type        = string
  description = "Login of the device's administrator: passwordless sudo, SSH by key only."
  default     = "cubeos"
  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.cubeos_user)) && var.cubeos_user != "root"
    error_message = "The user must be a valid Linux login other than root."
  }
}

variable "locale" {
  type        = string
  description = "System locale that is generated and set."
  default     = "en_US.UTF-8"
  validation {
    condition     = can(regex("^([a-z]{2,3}_[A-Z]{2}|C)\\.UTF-8$", var.locale))
    error_message = "The locale must be a UTF-8 locale, as in en_US.UTF-8."
  }
}

variable "timezone" {
  type        = string
  description = "Time zone, as tzdata names it."
  default     = "Etc/UTC"
  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z][A-Za-z0-9_+-]*)*$", var.timezone))
    error_message = "The time zone must be a name from tzdata, as in Europe/Amsterdam."
  }
}

variable "unattended_upgrades" {
  type        = bool
  description = "Whether the device installs Debian's security updates by itself when it is online."
  default     = false
}

variable "wifi_country" {
  type        = string
  description = "Country whose radio rules the access point keeps (ISO 3166-1 alpha-2); hostapd refuses to start without one."
  validation {
    condition     = can(regex("^[A-Z]{2}$", var.wifi_country))
    error_message = "The Wi-Fi country must be a two-letter country code, as in US."
  }
}

variable "wifi_key" {
  type        = string
  description = "How a device makes the key of its access point: `mac` from its MAC address, so that it can be looked up; `random`, which nobody can guess and the device shows."
  default     = "mac"
  validation {
    condition     = contains(["mac", "random"], var.wifi_key)
    error_message = "The key of the access point must be mac or random."
  }
}

variable "device_passwords" {
  type        = string
  description = "First passwords of the services' pages: `documented`, the same on every device; `random`, one that each device makes and shows."
  default     = "documented"
  validation {
    condition     = contains(["documented", "random"], var.device_passwords)
    error_message = "The passwords of devices must be documented or random."
  }
}

# What Raspberry Pi Imager is told --------------------------------------------

variable "publishable" {
  type        = bool
  description = "Whether an image of this profile may be released. Publishing one that may not is refused."
}

variable "release_url_base" {
  type        = string
  description = "URL of the directory the .img.xz of a release is downloaded from. {version} stands for the version. Only a publishable profile has one."
  default     = ""
  validation {
    condition     = can(regex("^(https://\\S+[^/])?$", var.release_url_base))
    error_message = "The base of release URLs must be an https:// URL without a slash at its end."
  }
}

variable "publish_to" {
  type        = list(string)
  description = "Where releases are published: github:OWNER/REPOSITORY or gitlab:GROUP/PROJECT, on another server github:https://SERVER/OWNER/REPOSITORY and the like. release_url_base is the address of one of them. Only a publishable profile has any."
  default     = []
  validation {
    condition     = length([for p in var.publish_to : p if can(regex("^(github:(https://[^/\\s@]+/)?[A-Za-z0-9._-]+|gitlab:(https://[^/\\s@]+/)?[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)/[A-Za-z0-9._-]+$", p))]) == length(var.publish_to)
    error_message = "The places to publish to must be github:OWNER/REPOSITORY or gitlab:GROUP/PROJECT, or have https://SERVER/ behind the colon."
  }
}

variable "imager_name" {
  type        = string
  description = "Name of the operating system in Raspberry Pi Imager's list."
  validation {
    condition     = length(trimspace(var.imager_name)) > 0
    error_message = "The name in Imager's list must not be empty."
  }
}

variable "imager_description" {
  type        = string
  description = "One sentence below the name in Imager's list."
  validation {
    condition     = length(trimspace(var.imager_description)) > 0
    error_message = "The description in Imager's list must not be empty."
  }
}

variable "imager_icon" {
  type        = string
  description = "URL of the icon in Imager's list, 40 by 40 pixels."
  validation {
    condition     = can(regex("^https://\\S+$", var.imager_icon))
    error_message = "The icon must be an https:// URL."
  }
}

variable "imager_website" {
  type        = string
  description = "Web site Imager links to."
  validation {
    condition     = can(regex("^https://\\S+$", var.imager_website))
    error_message = "The web site must be an https:// URL."
  }
}

variable "imager_init_format" {
  type        = string
  description = "How Imager hands its settings to the first boot. It follows the base image: `cloudinit-rpi` from Raspberry Pi OS trixie of 2025-11 on."
  default     = "cloudinit-rpi"
  validation {
    condition     = contains(["systemd", "cloudinit", "cloudinit-rpi", "rpi-preseed", "none"], var.imager_init_format)
    error_message = "Imager knows the formats systemd, cloudinit, cloudinit-rpi, rpi-preseed and none, and drops entries with any other."
  }
}

variable "imager_devices" {
  type        = list(string)
  description = "Tags of the devices Imager offers the image for: those that every image is checked for. `pi4` without -64bit would hide it."
  default     = ["pi5-64bit", "pi4-64bit"]
  validation {
    condition     = length(setintersection(["pi5-64bit", "pi4-64bit"], var.imager_devices)) == length(var.imager_devices) && length(var.imager_devices) > 0
    error_message = "The devices must be pi5-64bit, pi4-64bit or both."
  }
}

variable "imager_capabilities" {
  type        = list(string)
  description = "What Imager may offer beyond the usual settings, since the image honours it. Without `passwordless_sudo`, Imager from 2.0.11 on leaves open whether sudo asks for a password. The interfaces take Raspberry Pi OS's own cloud-init."
  default     = ["passwordless_sudo"]
  validation {
    condition     = length(setintersection(["passwordless_sudo", "i2c", "spi", "onewire", "serial"], var.imager_capabilities)) == length(var.imager_capabilities)
    error_message = "The image honours the capabilities passwordless_sudo, i2c, spi, onewire and serial."
  }
}

# The image -------------------------------------------------------------------

locals {
  repository = "${path.root}/.."
  scripts    = "${path.root}/scripts"
}

source "arm" "cubeos" {
  file_urls             = [var.base_image_url]
  file_checksum         = var.base_image_sha256
  file_checksum_type    = "sha256"
  file_target_extension = var.base_image_format == "raw" ? "img" : "xz"
  file_unarchive_cmd    = ["xz", "--decompress", "$ARCHIVE_PATH"]

  image_build_method = "resize"
  image_path         = "${local.repository}/build/${var.image_name}-${var.version}-arm64.img"
  image_size         = var.image_size
  image_type         = "dos"

  # Raspberry Pi OS's own layout. It describes the base image, which keeps its
  # partition table; only the root partition's end moves.
  image_partitions {
    name         = "boot"
    type         = "c"
    start_sector = 16384
    size         = "512M"
    filesystem   = "vfat"
    mountpoint   = "/boot/firmware"
  }
  image_partitions {
    name         = "root"
    type         = "83"
    start_sector = 1064960
    size         = "0"
    filesystem   = "ext4"
    mountpoint   = "/"
  }

  # A chroot needs a resolver, must not start services, and keeps nothing of
  # /run. The embedded engine does the same by itself.
  image_setup_extra = [
    ["cp", "--remove-destination", "/etc/resolv.conf", "$MOUNTPOINT/etc/resolv.conf"],
    ["sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' >\"$0\" && chmod 755 \"$0\"", "$MOUNTPOINT/usr/sbin/policy-rc.d"],
  ]
  additional_chroot_mounts {
    mount_type       = "tmpfs"
    source_path      = "tmpfs"
    destination_path = "/run"
  }

  # The second keeps the time of the build out of what packages generate, such
  # as an initramfs. It never changes: with the commit's time, every commit would
  # make everything again.
  image_chroot_env = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SOURCE_DATE_EPOCH=1754697600",
  ]
  qemu_binary_source_path      = "/usr/bin/qemu-aarch64-static"
  qemu_binary_destination_path = "/usr/bin/qemu-aarch64-static"
}

# Slow package work comes first and what changes often comes late, and each
# script is given only the variables it reads: a provisioner's script, files and
# variables decide together whether what it made last time can be used again.
build {
  sources = ["source.arm.cubeos"]

  provisioner "file" {
    name        = "script-library"
    source      = "${local.scripts}/lib.sh"
    destination = "/tmp/cubeos-lib.sh"
  }

  provisioner "shell" {
    name   = "base-setup"
    script = "${local.scripts}/01-base-setup.sh"
    environment_vars = [
      "CUBEOS_HOSTNAME=${var.hostname}",
      "CUBEOS_USER=${var.cubeos_user}",
      "CUBEOS_LOCALE=${var.locale}",
      "CUBEOS_TIMEZONE=${var.timezone}",
      "CUBEOS_UNATTENDED_UPGRADES=${var.unattended_upgrades}",
    ]
  }

  provisioner "shell" {
    name   = "networking"
    script = "${local.scripts}/02-networking.sh"
    environment_vars = [
      "CUBEOS_WIFI_COUNTRY=${var.wifi_country}",
    ]
  }

  provisioner "shell" {
    name   = "docker"
    script = "${local.scripts}/03-docker.sh"
    environment_vars = [
      "DOCKER_SOURCE=${var.docker_source}",
      "DOCKER_CE_URL=${var.docker_ce_url}",
      "DOCKER_CE_KEY_FINGERPRINT=${var.docker_ce_key_fingerprint}",
    ]
  }

  provisioner "file" {
    name        = "configs"
    source      = "${local.repository}/configs/rootfs/"
    destination = "/"
  }

  provisioner "shell" {
    name   = "cubeos"
    script = "${local.scripts}/04-cubeos.sh"
    environment_vars = [
      "CUBEOS_HOSTNAME=${var.hostname}",
      "CUBEOS_USER=${var.cubeos_user}",
      "CUBEOS_WIFI_COUNTRY=${var.wifi_country}",
      "CUBEOS_WIFI_KEY_MODE=${var.wifi_key}",
      "CUBEOS_DEVICE_PASSWORDS=${var.device_passwords}",
      "CUBEOS_OPTIONAL_SERVICES=${join(" ", var.optional_services)}",
    ]
  }

  provisioner "file" {
    name        = "container-image-files"
    source      = "${local.repository}/${var.container_images}/"
    destination = "/var/lib/cubeos/images/"
  }

  provisioner "shell" {
    name   = "docker-preload"
    script = "${local.scripts}/05-docker-preload.sh"
  }

  provisioner "file" {
    name        = "firstboot-files"
    source      = "${local.repository}/firstboot/"
    destination = "/usr/local/lib/cubeos/"
  }

  provisioner "shell" {
    name   = "firstboot-service"
    script = "${local.scripts}/06-firstboot-service.sh"
  }

  provisioner "shell" {
    name   = "cleanup"
    script = "${local.scripts}/07-cleanup.sh"
    environment_vars = [
      "CUBEOS_VERSION=${var.version}",
      "CUBEOS_PROFILE=${var.profile}",
    ]
  }
}
