# Profile lab-full: the lab with the optional services, too. It shows that a
# profile decides by its var-file alone what runs on the device.

profile    = "lab-full"
image_name = "cubeos-lab-full"

base_image_kind   = "bootstrap"
base_image_format = "raw"

docker_source     = "debian"
container_images  = "docker-images/lab-full"
container_source  = "stand-ins"
optional_services = ["registry"]
wifi_country      = "US"

publishable        = false
imager_name        = "CubeOS lab, full (64-bit)"
imager_description = "Lab build of CubeOS with stand-in services, the optional ones among them, for tests only."
imager_icon        = "https://lab.invalid/icon.png"
imager_website     = "https://github.com/cubeos-app"
imager_init_format = "cloudinit-rpi"
