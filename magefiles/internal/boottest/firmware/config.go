// Package firmware knows what the firmware of a Raspberry Pi does with a boot
// partition, and what it needs there.
package firmware

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Model is a Raspberry Pi as its firmware sees it.
type Model struct {
	Name       string
	sections   []string // of config.txt, beside [all]
	kernels    []string // the first that exists is booted, where config.txt names none
	deviceTree string
	start      string // "" where it is not on the card
	fixup      string
}

// The models that an image has to boot on.
var (
	Pi4 = Model{
		Name: "Raspberry Pi 4", sections: []string{"pi4"}, kernels: []string{"kernel8.img"},
		deviceTree: "bcm2711-rpi-4-b.dtb", start: "start4.elf", fixup: "fixup4.dat",
	}
	Pi5 = Model{
		Name: "Raspberry Pi 5", sections: []string{"pi5"}, kernels: []string{"kernel_2712.img", "kernel8.img"},
		deviceTree: "bcm2712-rpi-5-b.dtb",
	}
)

// Config is what config.txt tells the firmware to load. Names are relative to the
// root of the boot partition.
type Config struct {
	Kernel     string
	Initramfs  []string // loaded one after the other, as one
	Cmdline    string
	DeviceTree string
	Overlays   []string
	Start      string
	Fixup      string
}

var sections = map[string]bool{
	"pi1": true, "pi2": true, "pi3": true, "pi3+": true, "pi4": true, "pi5": true, "pi400": true,
	"pi500": true, "cm1": true, "cm3": true, "cm3+": true, "cm4": true, "cm4s": true, "cm5": true,
	"pi0": true, "pi0w": true, "pi02": true,
}

// ParseConfig reads config.txt as the firmware of a model does, as far as it
// decides which files are loaded. The model's usual kernel is the first that
// exists.
func ParseConfig(text string, m Model, exists func(name string) bool) (Config, error) {
	c := Config{Cmdline: "cmdline.txt", DeviceTree: m.deviceTree, Start: m.start, Fixup: m.fixup}
	var prefix string
	var auto bool
	overlays := "overlays/"
	modelApplies, restApplies := true, true
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			switch section := strings.ToLower(line[1 : len(line)-1]); {
			case section == "all":
				modelApplies, restApplies = true, true
			case sections[section]:
				modelApplies = slices.Contains(m.sections, section)
			default: // [none], [tryboot], [EDID=…]: nothing of it is true of this machine
				restApplies = false
			}
			continue
		}
		if line == "" || line[0] == '#' || !modelApplies || !restApplies {
			continue
		}
		if words := strings.Fields(line); words[0] == "initramfs" || words[0] == "include" {
			if words[0] == "include" || len(words) < 2 {
				return c, fmt.Errorf("line %d of config.txt: %q is not understood here", i+1, line)
			}
			c.Initramfs = strings.Split(words[1], ",")
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "kernel":
			c.Kernel = value
		case "ramfsfile":
			c.Initramfs = strings.Split(value, ",")
		case "cmdline":
			c.Cmdline = value
		case "os_prefix":
			prefix = value
		case "overlay_prefix":
			overlays = value
		case "device_tree":
			c.DeviceTree = value
		case "dtoverlay":
			// An empty one ends the parameters of the one before.
			if name := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ':' }); len(name) > 0 {
				c.Overlays = append(c.Overlays, name[0])
			}
		case "start_file":
			c.Start = value
		case "fixup_file":
			c.Fixup = value
		case "auto_initramfs":
			auto = value == "1"
		case "arm_64bit":
			if value == "0" {
				return c, fmt.Errorf("line %d of config.txt: %q asks for a 32-bit kernel, this system is 64-bit", i+1, line)
			}
		}
	}
	if c.Kernel == "" {
		c.Kernel = m.kernels[len(m.kernels)-1]
		for _, name := range m.kernels {
			if exists(prefix + name) {
				c.Kernel = name
				break
			}
		}
	}
	if auto && c.Initramfs == nil {
		name := strings.TrimSuffix(c.Kernel, path.Ext(c.Kernel))
		if rest, ok := strings.CutPrefix(name, "kernel"); ok {
			c.Initramfs = []string{"initramfs" + rest}
		}
	}
	c.Kernel, c.Cmdline, c.DeviceTree = prefix+c.Kernel, prefix+c.Cmdline, prefix+c.DeviceTree
	for i := range c.Initramfs {
		c.Initramfs[i] = prefix + c.Initramfs[i]
	}
	for i := range c.Overlays {
		c.Overlays[i] = prefix + overlays + c.Overlays[i] + ".dtbo"
	}
	return c, nil
}
