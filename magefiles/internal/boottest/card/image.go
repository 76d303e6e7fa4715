package card

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/firmware"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Image is a raw image as its own partition table describes it.
type Image struct {
	Path         string
	Size         int64
	Boot         diskimage.Partition // FAT
	Root         diskimage.Partition // ext4
	RootUUID     string
	BootPARTUUID string
	RootPARTUUID string
}

// Inspect reads an image's partition table and the identity of its root file
// system.
func Inspect(ctx context.Context, path string) (*Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	table, err := diskimage.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		return nil, fmt.Errorf("the partition table of %s: %w", path, err)
	}
	ext4, err := diskimage.ReadExt4(ctx, path, root)
	if err != nil {
		return nil, fmt.Errorf("the second partition of %s: %w", path, err)
	}
	return &Image{
		Path: path, Size: info.Size(), Boot: boot, Root: root,
		RootUUID: ext4.UUID, BootPARTUUID: table.PARTUUID(1), RootPARTUUID: table.PARTUUID(2),
	}, nil
}

// Boot is what is to be booted, taken out of a boot partition.
type Boot struct {
	Kernel  string // files in the directory given to Extract
	Initrd  string // "" where config.txt names none
	Cmdline string // the text of CmdlineFile
	From    string // where it came from, for people

	CmdlineFile    string // as a rule, cmdline.txt
	DeviceTreeFile string // as a rule, bcm2711-rpi-4-b.dtb
}

// CmdlineWith returns the kernel command line of a card with these files.
func (b *Boot) CmdlineWith(files []File) string {
	for _, f := range files {
		if f.Name == b.CmdlineFile {
			return strings.TrimSpace(string(f.Content))
		}
	}
	return b.Cmdline
}

// Extract takes the kernel, initramfs and kernel command line that config.txt
// names out of the image and into dir.
func (img *Image) Extract(ctx context.Context, dir string) (*Boot, error) {
	text, err := img.readText(ctx, "config.txt")
	if err != nil {
		return nil, err
	}
	// The emulated CPU is that of a Pi 4, which has one usual kernel.
	config, err := firmware.ParseConfig(text, firmware.Pi4, func(string) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", img.Path, err)
	}
	b := &Boot{Kernel: "kernel", From: config.Kernel, CmdlineFile: config.Cmdline, DeviceTreeFile: config.DeviceTree}
	if b.Cmdline, err = img.readText(ctx, config.Cmdline); err != nil {
		return nil, err
	}
	b.Cmdline = strings.TrimSpace(b.Cmdline)
	if b.Cmdline == "" || strings.Contains(b.Cmdline, "\n") {
		return nil, fmt.Errorf("%s of %s has to be one line and is %q", config.Cmdline, img.Path, b.Cmdline)
	}
	kernel := filepath.Join(dir, b.Kernel)
	if err := img.copyOut(ctx, kernel, config.Kernel); err != nil {
		return nil, err
	}
	if err := MakeLoadable(kernel); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", config.Kernel, img.Path, err)
	}
	if len(config.Initramfs) > 0 {
		b.Initrd = "initrd"
		b.From += " + " + strings.Join(config.Initramfs, " + ")
		if err := img.copyOut(ctx, filepath.Join(dir, b.Initrd), config.Initramfs...); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// ExtractFrom takes the same out of a device's disk called name in dir, as it is
// now. Nothing else may use the disk.
func (img *Image) ExtractFrom(ctx context.Context, dir, name string) (_ *Boot, err error) {
	fat := filepath.Join(dir, "boot-partition")
	defer func() { err = errors.Join(err, os.RemoveAll(fat)) }()
	if err := (process.Cmd{Argv: cutOutArgv(name, img.Boot, filepath.Base(fat)), Dir: dir}).Run(ctx); err != nil {
		return nil, fmt.Errorf("reading the boot partition of the device %s: %w", filepath.Join(dir, name), err)
	}
	return (&Image{Path: fat}).Extract(ctx, dir)
}

// cutOutArgv copies a partition of a qcow2 to a file.
func cutOutArgv(name string, p diskimage.Partition, to string) []string {
	from := fmt.Sprintf("driver=raw,offset=%d,size=%d,file.driver=qcow2,file.file.driver=file,file.file.filename=%s", p.Start, p.Size, name)
	return []string{"qemu-img", "convert", "-q", "--image-opts", from, "-O", "raw", to}
}

// ExtractDeviceTree takes a device tree out of the image.
func (img *Image) ExtractDeviceTree(ctx context.Context, dst, name string) error {
	return img.copyOut(ctx, dst, name)
}

// ExtractDeviceTreeWithConsole takes the device tree of a Raspberry Pi 3 out of the
// image, by the name that Raspberry Pi OS or that Debian gives it, and connects the
// serial port that QEMU models in full to the pins rather than to Bluetooth, which is
// what the firmware's overlay disable-bt does.
func (img *Image) ExtractDeviceTreeWithConsole(ctx context.Context, dst string) error {
	const port = "/soc/serial@7e201000"
	err := img.copyOut(ctx, dst, "bcm2710-rpi-3-b.dtb")
	if err != nil {
		if other := img.copyOut(ctx, dst, "bcm2837-rpi-3-b.dtb"); other != nil {
			return errors.Join(err, other)
		}
	}
	for _, argv := range [][]string{
		{"fdtput", "-t", "s", dst, port + "/bluetooth", "status", "disabled"},
		{"fdtput", "-t", "s", dst, "/aliases", "serial0", port},
	} {
		if err := (process.Cmd{Argv: argv}).Run(ctx); err != nil {
			return fmt.Errorf("changing the device tree: %w", err)
		}
	}
	return nil
}

func (img *Image) readText(ctx context.Context, name string) (string, error) {
	var text strings.Builder
	if err := img.read(ctx, name, &text); err != nil {
		return "", err
	}
	return strings.TrimRight(strings.ReplaceAll(text.String(), "\r", ""), "\n"), nil
}

// copyOut writes files of the boot partition one after the other to one file.
func (img *Image) copyOut(ctx context.Context, dst string, names ...string) (err error) {
	f, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, name := range names {
		if err := img.read(ctx, name, f); err != nil {
			return err
		}
	}
	return nil
}

func (img *Image) read(ctx context.Context, name string, w io.Writer) error {
	if err := diskimage.ReadFATFile(ctx, img.Path, img.Boot, name, w); err != nil {
		return fmt.Errorf("reading %s from the boot partition of %s: %w", name, img.Path, err)
	}
	return nil
}
