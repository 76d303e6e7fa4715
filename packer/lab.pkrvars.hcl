# Profile lab: Debian in Raspberry Pi OS's layout and stand-in services, built
# and booted with nothing but a Debian mirror. A lab image is never released.

profile    = "lab"
image_name = "cubeos-lab"

base_image_kind   = "bootstrap"
base_image_format = "raw"

docker_source    = "debian"
container_images = "docker-images/lab"
container_source = "stand-ins"
wifi_country     = "US"

publishable        = false
imager_name        = "CubeOS lab (64-bit)"
imager_description = "Lab build of CubeOS with stand-in services, for tests only."
imager_icon        = "https://lab.invalid/icon.png"
imager_website     = "https://github.com/cubeos-app"
imager_init_format = "cloudinit-rpi"
