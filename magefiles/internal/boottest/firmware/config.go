// Package firmware knows what the firmware of a Raspberry Pi does with a boot
// partition, and what it needs there.
package firmware

import (
	"errors"
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
	p := parser{
		model:  m,
		config: Config{Cmdline: "cmdline.txt", DeviceTree: m.deviceTree, Start: m.start, Fixup: m.fixup},
		// Until the first section, everything counts.
		modelApplies: true, restApplies: true,
		overlayPrefix: "overlays/",
	}
	for i, line := range strings.Split(text, "\n") {
		if err := p.line(strings.TrimSpace(line)); err != nil {
			return p.config, fmt.Errorf("line %d of config.txt: %q %w", i+1, strings.TrimSpace(line), err)
		}
	}
	p.addUsual(exists)
	p.addPrefixes()
	return p.config, nil
}

type parser struct {
	model  Model
	config Config

	modelApplies  bool // the last section for a model is for this one
	restApplies   bool // the last section for anything else is for this machine
	autoInitramfs bool
	prefix        string
	overlayPrefix string
}

func (p *parser) line(line string) error {
	if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
		p.section(strings.ToLower(line[1 : len(line)-1]))
		return nil
	}
	if line == "" || line[0] == '#' || !p.modelApplies || !p.restApplies {
		return nil
	}
	switch words := strings.Fields(line); {
	case words[0] == "include", words[0] == "initramfs" && len(words) < 2:
		return errors.New("is not understood here")
	case words[0] == "initramfs":
		p.config.Initramfs = strings.Split(words[1], ",")
		return nil
	}
	key, value, _ := strings.Cut(line, "=")
	return p.option(strings.TrimSpace(key), strings.TrimSpace(value))
}

func (p *parser) section(name string) {
	switch {
	case name == "all":
		p.modelApplies, p.restApplies = true, true
	case sections[name]:
		p.modelApplies = slices.Contains(p.model.sections, name)
	default: // [none], [tryboot], [EDID=…]: nothing of it is true of this machine
		p.restApplies = false
	}
}

func (p *parser) option(key, value string) error {
	switch key {
	case "kernel":
		p.config.Kernel = value
	case "ramfsfile":
		p.config.Initramfs = strings.Split(value, ",")
	case "cmdline":
		p.config.Cmdline = value
	case "os_prefix":
		p.prefix = value
	case "overlay_prefix":
		p.overlayPrefix = value
	case "device_tree":
		p.config.DeviceTree = value
	case "dtoverlay":
		// An empty one ends the parameters of the one before.
		if name := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ':' }); len(name) > 0 {
			p.config.Overlays = append(p.config.Overlays, name[0])
		}
	case "start_file":
		p.config.Start = value
	case "fixup_file":
		p.config.Fixup = value
	case "auto_initramfs":
		p.autoInitramfs = value == "1"
	case "arm_64bit":
		if value == "0" {
			return errors.New("asks for a 32-bit kernel, this system is 64-bit")
		}
	}
	return nil
}

// addUsual adds what the firmware looks for where config.txt names nothing.
func (p *parser) addUsual(exists func(name string) bool) {
	c := &p.config
	if c.Kernel == "" {
		c.Kernel = p.model.kernels[len(p.model.kernels)-1]
		if at := slices.IndexFunc(p.model.kernels, func(name string) bool { return exists(p.prefix + name) }); at >= 0 {
			c.Kernel = p.model.kernels[at]
		}
	}
	if p.autoInitramfs && c.Initramfs == nil {
		name := strings.TrimSuffix(c.Kernel, path.Ext(c.Kernel))
		if rest, ok := strings.CutPrefix(name, "kernel"); ok {
			c.Initramfs = []string{"initramfs" + rest}
		}
	}
}

func (p *parser) addPrefixes() {
	c := &p.config
	c.Kernel, c.Cmdline, c.DeviceTree = p.prefix+c.Kernel, p.prefix+c.Cmdline, p.prefix+c.DeviceTree
	for i := range c.Initramfs {
		c.Initramfs[i] = p.prefix + c.Initramfs[i]
	}
	for i := range c.Overlays {
		c.Overlays[i] = p.prefix + p.overlayPrefix + c.Overlays[i] + ".dtbo"
	}
}
