package firmware

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const raspberryPiOS = `# comment
dtparam=audio=on
auto_initramfs=1
dtoverlay=vc4-kms-v3d
disable_fw_kms_setup=1
arm_64bit=1

[cm4]
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[pi5]
dtoverlay=nospi10

[all]
`

func TestParseConfig(t *testing.T) {
	t.Parallel()
	four := Config{Kernel: "kernel8.img", Cmdline: "cmdline.txt", DeviceTree: "bcm2711-rpi-4-b.dtb", Start: "start4.elf", Fixup: "fixup4.dat"}
	with := func(change func(*Config)) Config { c := four; change(&c); return c }
	for _, tt := range []struct {
		name, text string
		model      Model
		want       Config
		err        string
	}{
		{name: "nothing said", model: Pi4, want: four},
		{name: "Raspberry Pi OS, Pi 4", model: Pi4, text: raspberryPiOS, want: with(func(c *Config) {
			c.Initramfs, c.Overlays = []string{"initramfs8"}, []string{"overlays/vc4-kms-v3d.dtbo"}
		})},
		{name: "Raspberry Pi OS, Pi 5", model: Pi5, text: raspberryPiOS, want: Config{
			Kernel: "kernel_2712.img", Initramfs: []string{"initramfs_2712"}, Cmdline: "cmdline.txt", DeviceTree: "bcm2712-rpi-5-b.dtb",
			Overlays: []string{"overlays/vc4-kms-v3d.dtbo", "overlays/nospi10.dtbo"},
		}},
		{name: "raspi-firmware of Debian", model: Pi4, text: "arm_64bit=1\r\nkernel=vmlinuz-6.12-arm64\r\ninitramfs initrd.img-6.12-arm64 followkernel\r\n", want: with(func(c *Config) {
			c.Kernel, c.Initramfs = "vmlinuz-6.12-arm64", []string{"initrd.img-6.12-arm64"}
		})},
		{name: "sections for other models and conditions", model: Pi4,
			text: "[pi5]\nkernel=kernel_2712.img\n[pi4]\nkernel=four.img\n[tryboot]\nkernel=try.img\n[pi4]\nkernel=still-try.img\n[all]\ncmdline=other.txt\n[none]\ncmdline=no.txt\n",
			want: with(func(c *Config) { c.Kernel, c.Cmdline = "four.img", "other.txt" })},
		{name: "prefix and several initramfs files", model: Pi4, text: "os_prefix=A/\ninitramfs one,two 0x01f00000\ndtoverlay=x:y=1\ndtoverlay=\n", want: with(func(c *Config) {
			c.Kernel, c.Initramfs, c.Cmdline, c.DeviceTree = "A/kernel8.img", []string{"A/one", "A/two"}, "A/cmdline.txt", "A/bcm2711-rpi-4-b.dtb"
			c.Overlays = []string{"A/overlays/x.dtbo"}
		})},
		{name: "auto_initramfs of a kernel with a name of its own", model: Pi4, text: "auto_initramfs=1\nkernel=vmlinuz\n", want: with(func(c *Config) { c.Kernel = "vmlinuz" })},
		{name: "other firmware and device tree", model: Pi4, text: "start_file=s.elf\nfixup_file=f.dat\ndevice_tree=d.dtb\n", want: with(func(c *Config) {
			c.Start, c.Fixup, c.DeviceTree = "s.elf", "f.dat", "d.dtb"
		})},
		{name: "include", model: Pi4, text: "\ninclude extra.txt\n", err: "line 2 of config.txt"},
		{name: "32 bit", model: Pi4, text: "arm_64bit=0\n", err: "32-bit kernel"},
		{name: "initramfs without a name", model: Pi4, text: "initramfs\n", err: "not understood"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseConfig(tt.text, tt.model, func(string) bool { return true })
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
	got, err := ParseConfig("", Pi5, func(string) bool { return false })
	if err != nil || got.Kernel != "kernel8.img" {
		t.Errorf("a Pi 5 without a kernel of its own boots %q (%v), want kernel8.img", got.Kernel, err)
	}
}
