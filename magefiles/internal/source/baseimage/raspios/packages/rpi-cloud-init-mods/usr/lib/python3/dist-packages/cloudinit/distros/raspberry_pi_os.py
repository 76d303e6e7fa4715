"""Raspberry Pi OS: the first user is renamed instead of a second one made."""

from cloudinit import subp
from cloudinit.distros import debian


class Distro(debian.Distro):
    def set_keymap(self, layout, model, variant, options):
        subp.subp(["/usr/lib/raspberrypi-sys-mods/imager_custom", "set_keymap", layout])

    def create_user(self, name, **kwargs):
        subp.subp(["/usr/lib/userconf-pi/userconf", name, kwargs.pop("passwd", None) or ""])
        return super().create_user(name, **kwargs)
