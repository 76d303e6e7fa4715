"""The key "rpi": interfaces, of which some take a restart at once."""

from cloudinit import subp
from cloudinit.settings import PER_INSTANCE

meta = {
    "id": "cc_raspberry_pi",
    "distros": ["raspberry-pi-os"],
    "frequency": PER_INSTANCE,
    "activate_by_schema_keys": ["rpi"],
}


def handle(name, cfg, cloud, args):
    settings = cfg.get("rpi") or {}
    interfaces = settings.get("interfaces") or {}
    for interface in ("i2c", "spi", "onewire"):
        if interface in interfaces:
            raspi_config("do_" + interface, interfaces[interface])
    restart = bool(settings.get("enable_usb_gadget"))
    if "serial" in interfaces:
        raspi_config("do_serial_hw", interfaces["serial"])
        restart = True
    if restart:
        subp.subp(["/usr/sbin/shutdown", "-r", "now"])


def raspi_config(function, on):
    subp.subp(["/usr/bin/raspi-config", "nonint", function, "0" if on else "1"])
