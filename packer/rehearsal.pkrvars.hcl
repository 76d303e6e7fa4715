# Profile rehearsal: pios without Raspberry Pi's, Docker's and the registries'
# hosts. Its base image is made here and behaves like Raspberry Pi OS Lite, so that
# what a release has to cope with is met before the first one. It is never released.

profile    = "rehearsal"
image_name = "cubeos-rehearsal"

base_image_kind   = "bootstrap"
base_image_like   = "raspios"
base_image_format = "raw"

docker_source    = "debian"
container_images = "docker-images/rehearsal"
container_source = "stand-ins"
wifi_country     = "US"

publishable         = false
imager_name         = "CubeOS rehearsal (64-bit)"
imager_description  = "Rehearsal of a CubeOS release on a stand-in for Raspberry Pi OS, for tests only."
imager_icon         = "https://lab.invalid/icon.png"
imager_website      = "https://github.com/cubeos-app"
imager_init_format  = "cloudinit-rpi"
imager_capabilities = ["passwordless_sudo", "i2c", "spi", "onewire", "serial"]
