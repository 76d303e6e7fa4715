package firmware

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
)

const blob = "\xd0\x0d\xfe\xed and so on"

func image(version string) string {
	return strings.Repeat("\x00", 56) + "ARM\x64" + strings.Repeat("\x00", 60) + "Linux version " + version + " (somebody@somewhere)"
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// card is a boot partition and what belongs to it.
type card struct {
	files map[string]string
	sys   System
}

func system(modules ...string) System {
	return System{
		Partitions: []string{"5a3c9d02-01", "5a3c9d02-02"},
		Fstab: `proc /proc proc defaults 0 0
PARTUUID=5a3c9d02-01  /boot/firmware  vfat  defaults          0 2
PARTUUID=5a3c9d02-02  /               ext4  defaults,noatime  0 1
`,
		Modules: modules,
	}
}

const goodCmdline = "console=serial0,115200 console=tty1 root=PARTUUID=5a3c9d02-02 rootfstype=ext4 fsck.repair=yes rootwait cgroup_enable=memory\n"

// pios is what a card with Raspberry Pi OS holds, debian one with raspi-firmware.
func pios(t *testing.T) card {
	t.Helper()
	return card{map[string]string{
		"config.txt": raspberryPiOS, "cmdline.txt": goodCmdline,
		"kernel8.img": gzipped(t, image("6.12.62+rpt-rpi-v8")), "initramfs8": "\x28\xb5\x2f\xfd",
		"kernel_2712.img": gzipped(t, image("6.12.62+rpt-rpi-2712")), "initramfs_2712": "\x1f\x8b",
		"bcm2711-rpi-4-b.dtb": blob, "bcm2712-rpi-5-b.dtb": blob, "start4.elf": "\x7fELF", "fixup4.dat": "x",
		"overlays/vc4-kms-v3d.dtbo": blob, "overlays/nospi10.dtbo": blob,
	}, system("6.12.62+rpt-rpi-2712", "6.12.62+rpt-rpi-v8")}
}

func debian(*testing.T) card {
	return card{map[string]string{
		"config.txt":            "arm_64bit=1\r\nupstream_kernel=1\r\nkernel=vmlinuz-6.12-arm64\r\ninitramfs initrd.img-6.12-arm64\r\n",
		"cmdline.txt":           " " + goodCmdline,
		"vmlinuz-6.12-arm64":    image("6.12-arm64"),
		"initrd.img-6.12-arm64": "070701",
		"bcm2711-rpi-4-b.dtb":   blob, "bcm2712-rpi-5-b.dtb": blob, "start4.elf": "\x7fELF", "fixup4.dat": "x",
	}, system("6.12-arm64")}
}

func (c card) check() error {
	boot := fstest.MapFS{}
	for name, content := range c.files {
		boot[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return Check(fs.FS(boot), c.sys)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	replace := func(name, from, to string) func(card) card {
		return func(c card) card {
			c.files = maps.Clone(c.files)
			c.files[name] = strings.Replace(c.files[name], from, to, 1)
			return c
		}
	}
	set := func(name, content string) func(card) card {
		return func(c card) card { c.files[name] = content; return c }
	}
	remove := func(name string) func(card) card {
		return func(c card) card { delete(c.files, name); return c }
	}
	for name, tt := range map[string]struct {
		card   func(*testing.T) card
		damage func(card) card
		want   []string // all problems, each by a part of it
	}{
		"Raspberry Pi OS":          {pios, func(c card) card { return c }, nil},
		"Debian":                   {debian, func(c card) card { return c }, nil},
		"no config.txt":            {debian, remove("config.txt"), []string{"config.txt: open", "Raspberry Pi 4: the kernel kernel8.img is not", "Raspberry Pi 5: the kernel kernel8.img is not"}},
		"32 bit":                   {debian, replace("config.txt", "arm_64bit=1", "arm_64bit=0"), []string{"Raspberry Pi 4: line 1", "Raspberry Pi 5: line 1"}},
		"no kernel":                {debian, remove("vmlinuz-6.12-arm64"), []string{"Raspberry Pi 4: the kernel vmlinuz-6.12-arm64 is not on", "Raspberry Pi 5: the kernel vmlinuz-6.12-arm64 is not on"}},
		"an empty kernel":          {pios, set("kernel_2712.img", ""), []string{"Raspberry Pi 5: the kernel kernel_2712.img is empty"}},
		"an EFI kernel":            {debian, set("vmlinuz-6.12-arm64", "MZ\x00\x00zimg"+strings.Repeat("\x00", 80)), []string{"is no arm64 Image"}},
		"a truncated kernel":       {pios, func(c card) card { return set("kernel8.img", c.files["kernel8.img"][:60])(c) }, []string{"the kernel kernel8.img: unexpected EOF"}},
		"no Pi 5 kernel":           {pios, remove("kernel_2712.img"), nil}, // it boots kernel8.img then
		"no initramfs":             {pios, remove("initramfs_2712"), []string{"Raspberry Pi 5: the initramfs initramfs_2712 is not on"}},
		"a damaged initramfs":      {pios, set("initramfs8", "x"), []string{"the initramfs initramfs8 is no cpio archive"}},
		"no Pi 5 device tree":      {debian, remove("bcm2712-rpi-5-b.dtb"), []string{"Raspberry Pi 5: the device tree bcm2712-rpi-5-b.dtb is not on"}},
		"a damaged overlay":        {pios, set("overlays/nospi10.dtbo", "x"), []string{"the overlay overlays/nospi10.dtbo is no device tree blob"}},
		"no overlay":               {pios, remove("overlays/vc4-kms-v3d.dtbo"), []string{"Raspberry Pi 4: the overlay", "Raspberry Pi 5: the overlay"}},
		"no firmware":              {pios, remove("fixup4.dat"), []string{"Raspberry Pi 4: the firmware's memory layout fixup4.dat is not on"}},
		"two lines":                {debian, replace("cmdline.txt", " rootfstype", "\nrootfstype"), []string{"more than the one line"}},
		"an empty cmdline.txt":     {debian, set("cmdline.txt", ""), []string{"Raspberry Pi 4: the kernel command line cmdline.txt is empty", "Raspberry Pi 5: the kernel command line cmdline.txt is empty"}},
		"another root":             {debian, replace("cmdline.txt", "5a3c9d02-02", "12345678-02"), []string{"cmdline.txt names PARTUUID=12345678-02; the partition table has 5a3c9d02-01, 5a3c9d02-02"}},
		"root is boot":             {debian, replace("cmdline.txt", "5a3c9d02-02", "5a3c9d02-01"), []string{"cmdline.txt names PARTUUID=5a3c9d02-01"}},
		"a device name":            {debian, replace("cmdline.txt", "PARTUUID=5a3c9d02-02", "/dev/mmcblk0p2"), []string{"cmdline.txt names /dev/mmcblk0p2, expected PARTUUID"}},
		"a bare cmdline.txt":       {debian, set("cmdline.txt", "quiet\n"), []string{"root=", "console=", "rootwait", "cgroup_enable=memory"}},
		"a card that grows itself": {pios, replace("cmdline.txt", "rootwait", "rootwait resize"), []string{"cmdline.txt has resize"}},
		"no modules":               {pios, func(c card) card { c.sys.Modules = []string{"6.12.62+rpt-rpi-v8"}; return c }, []string{"the kernel kernel_2712.img is Linux 6.12.62+rpt-rpi-2712; /usr/lib/modules holds 6.12.62+rpt-rpi-v8"}},
		"fstab of another card": {debian, func(c card) card {
			c.sys.Fstab = strings.ReplaceAll(c.sys.Fstab, "5a3c9d02", "12345678")
			return c
		}, []string{"fstab, /boot/firmware, names PARTUUID=12345678-01", "fstab, /, names PARTUUID=12345678-02"}},
		"an empty fstab": {debian, func(c card) card { c.sys.Fstab = "# nothing\n"; return c }, []string{"fstab does not mount /", "fstab does not mount /boot/firmware"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.damage(tt.card(t)).check()
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("nothing of %q in %v", want, err)
				}
			}
			if len(got) != len(tt.want) {
				t.Errorf("%d problems, want %d: %v", len(got), len(tt.want), err)
			}
		})
	}
}
