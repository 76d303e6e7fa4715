# Profile pios: Raspberry Pi OS Lite and the real services. This is what is
# released.

profile    = "pios"
image_name = "cubeos"

# A new base image needs a new digest: the .sha256 file beside it has it.
base_image_kind   = "download"
base_image_url    = "https://downloads.raspberrypi.com/raspios_lite_arm64/images/raspios_lite_arm64-2026-06-19/2026-06-18-raspios-trixie-arm64-lite.img.xz"
base_image_sha256 = "acff736ca7945e3b305f07cda4abdb870910e12634991da69783611756e381b3"
base_image_format = "xz"

docker_source    = "docker-ce"
container_images = "docker-images/pios"
wifi_country     = "US"

publishable         = true
publish_to          = ["github:cubeos-app/releases"]
release_url_base    = "https://github.com/cubeos-app/releases/releases/download/v{version}"
imager_name         = "CubeOS (64-bit)"
imager_description  = "Self-hosted server OS for Raspberry Pi with Docker, Pi-hole and a web dashboard, reachable over its own access point."
imager_icon         = "https://github.com/cubeos-app.png?size=80"
imager_website      = "https://github.com/cubeos-app"
imager_init_format  = "cloudinit-rpi"
imager_capabilities = ["passwordless_sudo", "i2c", "spi", "onewire", "serial"]
