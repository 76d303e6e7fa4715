package media

import (
	"fmt"
	"path"
	"strings"
)

// BootConfig is what config.txt tells a Raspberry Pi's firmware about the kernel.
// Names are relative to the root of the boot partition.
type BootConfig struct {
	Kernel    string
	Initramfs []string // loaded one after the other, as one
	Cmdline   string
}

// model is whose sections of config.txt apply: the emulated CPU is a Pi 4's.
const model = "pi4"

var models = map[string]bool{
	"pi1": true, "pi2": true, "pi3": true, "pi3+": true, "pi4": true, "pi5": true, "pi400": true,
	"pi500": true, "cm1": true, "cm3": true, "cm3+": true, "cm4": true, "cm4s": true, "cm5": true,
	"pi0": true, "pi0w": true, "pi02": true,
}

// ParseBootConfig reads config.txt as the firmware of a Raspberry Pi 4 does, as
// far as it decides which files are booted.
func ParseBootConfig(text string) (BootConfig, error) {
	c := BootConfig{Kernel: "kernel8.img", Cmdline: "cmdline.txt"}
	var prefix string
	var auto bool
	modelApplies, restApplies := true, true
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			switch section := strings.ToLower(line[1 : len(line)-1]); {
			case section == "all":
				modelApplies, restApplies = true, true
			case models[section]:
				modelApplies = section == model
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
		case "auto_initramfs":
			auto = value == "1"
		case "arm_64bit":
			if value == "0" {
				return c, fmt.Errorf("line %d of config.txt: %q asks for a 32-bit kernel, this machine is 64-bit", i+1, line)
			}
		}
	}
	if auto && c.Initramfs == nil {
		name := strings.TrimSuffix(c.Kernel, path.Ext(c.Kernel))
		if rest, ok := strings.CutPrefix(name, "kernel"); ok {
			c.Initramfs = []string{"initramfs" + rest}
		}
	}
	c.Kernel, c.Cmdline = prefix+c.Kernel, prefix+c.Cmdline
	for i := range c.Initramfs {
		c.Initramfs[i] = prefix + c.Initramfs[i]
	}
	return c, nil
}
