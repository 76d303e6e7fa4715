package firmware

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// System is what the boot partition has to agree with.
type System struct {
	Partitions []string // PARTUUIDs, in the order of the partition table
	Fstab      string
	Modules    []string // names of the directories in /usr/lib/modules
}

// Check reports everything that would keep a Raspberry Pi 4 or 5 from booting
// what a boot partition holds into the system it belongs to.
func Check(boot fs.FS, sys System) error {
	c := checker{boot: boot, sys: sys, seen: map[string]bool{}}
	text, err := fs.ReadFile(boot, "config.txt")
	if err != nil {
		c.problem("config.txt: %w", err)
	}
	for _, m := range []Model{Pi4, Pi5} {
		config, err := ParseConfig(strings.ReplaceAll(string(text), "\r", ""), m, c.exists)
		if err != nil {
			c.problem("%s: %w", m.Name, err)
			continue
		}
		c.loads(m, config)
	}
	c.fstab()
	return errors.Join(c.problems...)
}

type checker struct {
	boot     fs.FS
	sys      System
	problems []error
	seen     map[string]bool // a fault in what both models load is one fault
}

func (c *checker) problem(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if !c.seen[err.Error()] {
		c.seen[err.Error()] = true
		c.problems = append(c.problems, err)
	}
}

func (c *checker) exists(name string) bool {
	_, err := fs.Stat(c.boot, path.Clean(name))
	return err == nil
}

func (c *checker) read(m Model, name, what string) []byte {
	b, err := fs.ReadFile(c.boot, path.Clean(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.problem("%s: the %s %s is not on the boot partition", m.Name, what, name)
	case err != nil:
		c.problem("%s: the %s %s: %w", m.Name, what, name, err)
	case len(b) == 0:
		c.problem("%s: the %s %s is empty", m.Name, what, name)
	}
	return b
}

func (c *checker) loads(m Model, config Config) {
	if b := c.read(m, config.Kernel, "kernel"); len(b) > 0 {
		c.kernel(config.Kernel, b)
	}
	for _, name := range config.Initramfs {
		if b := c.read(m, name, "initramfs"); len(b) > 0 && !slices.ContainsFunc(initramfsMagic, func(magic string) bool { return strings.HasPrefix(string(b), magic) }) {
			c.problem("the initramfs %s is no cpio archive, compressed or not", name)
		}
	}
	for what, names := range map[string][]string{"device tree": {config.DeviceTree}, "overlay": config.Overlays} {
		for _, name := range names {
			if b := c.read(m, name, what); len(b) > 0 && !bytes.HasPrefix(b, []byte("\xd0\x0d\xfe\xed")) {
				c.problem("the %s %s is no device tree blob", what, name)
			}
		}
	}
	if m.start != "" {
		c.read(m, config.Start, "firmware")
		c.read(m, config.Fixup, "firmware's memory layout")
	}
	if b := c.read(m, config.Cmdline, "kernel command line"); len(b) > 0 {
		c.cmdline(config.Cmdline, string(b))
	}
}

// initramfsMagic: cpio (newc), gzip, xz, zstd, LZ4.
var initramfsMagic = []string{"070701", "\x1f\x8b", "\xfd7zXZ", "\x28\xb5\x2f\xfd", "\x02\x21\x4c\x18"}

var banner = regexp.MustCompile(`Linux version (\S+) \(`)

func (c *checker) kernel(name string, b []byte) {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		plain, err := gunzip(b)
		if err != nil {
			c.problem("the kernel %s: %w", name, err)
			return
		}
		b = plain
	}
	// Documentation/arch/arm64/booting.rst of Linux.
	if len(b) < 64 || string(b[56:60]) != "ARM\x64" {
		c.problem("the kernel %s is no arm64 Image, plain or compressed by gzip, which is what the firmware loads", name)
		return
	}
	version := banner.FindSubmatch(b)
	if version == nil {
		c.problem("the kernel %s does not say which version it is", name)
	} else if v := string(version[1]); !slices.Contains(c.sys.Modules, v) {
		c.problem("the kernel %s is Linux %s; /usr/lib/modules holds %s", name, v, listed(c.sys.Modules))
	}
}

func gunzip(b []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func (c *checker) cmdline(name, text string) {
	if strings.Contains(strings.TrimRight(text, "\r\n"), "\n") {
		c.problem("%s has more than the one line that the firmware reads", name)
	}
	words := strings.Fields(text)
	var root, console bool
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "root":
			root = true
			c.partition(name, value, 2)
		case "console":
			console = true
		}
	}
	if !root {
		c.problem("%s names no root file system (root=)", name)
	}
	if !console {
		c.problem("%s names no console (console=)", name)
	}
	if !slices.Contains(words, "rootwait") {
		c.problem("%s has no rootwait: a card is not there yet when the kernel looks for it", name)
	}
	if slices.Contains(words, "resize") {
		c.problem("%s has resize: the initramfs of Raspberry Pi OS would change the disk id, and a power cut in between leaves a card that does not find its root", name)
	}
	if !slices.Contains(words, "cgroup_enable=memory") {
		c.problem("%s has no cgroup_enable=memory: on a Raspberry Pi's kernel Docker could not limit memory", name)
	}
}

// partition checks that source names the partition of a number.
func (c *checker) partition(where, source string, number int) {
	id, ok := strings.CutPrefix(source, "PARTUUID=")
	switch {
	case !ok:
		c.problem("%s names %s, expected PARTUUID=…: device names differ between cards and models", where, source)
	case len(c.sys.Partitions) < number || !strings.EqualFold(id, c.sys.Partitions[number-1]):
		c.problem("%s names %s; the partition table has %s", where, source, listed(c.sys.Partitions))
	}
}

func (c *checker) fstab() {
	number := map[string]int{"/boot/firmware": 1, "/": 2}
	for line := range strings.Lines(c.sys.Fstab) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || number[fields[1]] == 0 {
			continue
		}
		c.partition("fstab, "+fields[1]+",", fields[0], number[fields[1]])
		delete(number, fields[1])
	}
	for _, missing := range []string{"/", "/boot/firmware"} {
		if number[missing] != 0 {
			c.problem("fstab does not mount %s", missing)
		}
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}
