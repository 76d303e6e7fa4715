package card

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/firmware"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

const sectorSize = 512

// Partition is a part of an image, in bytes.
type Partition struct {
	Start, Size int64
	PARTUUID    string
}

// Image is a raw image as its own partition table describes it.
type Image struct {
	Path     string
	Size     int64
	Boot     Partition // FAT
	Root     Partition // ext4
	RootUUID string
}

// Inspect reads an image's partition table and the identity of its root file
// system.
func Inspect(ctx context.Context, path string) (*Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	out, err := process.Output(ctx, "sfdisk", "--json", path)
	if err != nil {
		return nil, fmt.Errorf("reading the partition table of %s: %w", path, err)
	}
	img, err := parseTable([]byte(out), info.Size())
	if err != nil {
		return nil, fmt.Errorf("the partition table of %s: %w", path, err)
	}
	img.Path = path
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if img.RootUUID, err = ext4UUID(f, img.Root.Start); err != nil {
		return nil, fmt.Errorf("the second partition of %s: %w", path, err)
	}
	return img, nil
}

// parseTable reads what `sfdisk --json` prints.
func parseTable(out []byte, size int64) (*Image, error) {
	var dump struct {
		PartitionTable struct {
			Label      string
			ID         string
			Partitions []struct {
				Start, Size int64
				Type        string
			}
		}
	}
	if err := json.Unmarshal(out, &dump); err != nil {
		return nil, err
	}
	t := dump.PartitionTable
	if t.Label != "dos" || len(t.Partitions) < 2 {
		return nil, fmt.Errorf("it is %q with %d partitions, expected an MBR (dos) with a boot and a root partition", t.Label, len(t.Partitions))
	}
	var parts [2]Partition
	for i := range parts {
		p := t.Partitions[i]
		parts[i] = Partition{
			Start: p.Start * sectorSize, Size: p.Size * sectorSize,
			PARTUUID: fmt.Sprintf("%s-%02d", strings.TrimPrefix(strings.ToLower(t.ID), "0x"), i+1),
		}
		if parts[i].Start+parts[i].Size > size {
			return nil, fmt.Errorf("partition %d ends at byte %d, the image has %d: it is truncated", i+1, parts[i].Start+parts[i].Size, size)
		}
	}
	if typ := strings.ToLower(t.Partitions[0].Type); typ != "c" && typ != "b" && typ != "e" {
		return nil, fmt.Errorf("partition 1 has type %s, expected FAT (c)", typ)
	}
	if typ := t.Partitions[1].Type; typ != "83" {
		return nil, fmt.Errorf("partition 2 has type %s, expected Linux (83)", typ)
	}
	return &Image{Size: size, Boot: parts[0], Root: parts[1]}, nil
}

// ext4UUID reads the superblock of the ext file system at an offset.
func ext4UUID(r io.ReaderAt, offset int64) (string, error) {
	sb := make([]byte, 0x78)
	if _, err := r.ReadAt(sb, offset+1024); err != nil {
		return "", err
	}
	if sb[0x38] != 0x53 || sb[0x39] != 0xef {
		return "", errors.New("it holds no ext4 file system")
	}
	u := hex.EncodeToString(sb[0x68:0x78])
	return strings.Join([]string{u[:8], u[8:12], u[12:16], u[16:20], u[20:]}, "-"), nil
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
	if err := makeLoadable(kernel); err != nil {
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

// ExtractDeviceTree takes the device tree of a Raspberry Pi 4 out of the image.
func (img *Image) ExtractDeviceTree(ctx context.Context, b *Boot, dst string) error {
	return img.copyOut(ctx, dst, b.DeviceTreeFile)
}

func (img *Image) readText(ctx context.Context, name string) (string, error) {
	text, err := process.Output(ctx, readArgv(img.Path, img.Boot.Start, name)...)
	if err != nil {
		return "", fmt.Errorf("reading %s from the boot partition of %s: %w", name, img.Path, err)
	}
	return strings.ReplaceAll(text, "\r", ""), nil
}

// copyOut writes files of the boot partition one after the other to one file.
func (img *Image) copyOut(ctx context.Context, dst string, names ...string) (err error) {
	f, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for _, name := range names {
		if err := (process.Cmd{Argv: readArgv(img.Path, img.Boot.Start, name), Stdout: f}).Run(ctx); err != nil {
			return fmt.Errorf("reading %s from the boot partition of %s: %w", name, img.Path, err)
		}
	}
	return nil
}

// readArgv prints a file of the FAT file system at offset of an image.
func readArgv(image string, offset int64, name string) []string {
	return []string{"mtype", "-i", fmt.Sprintf("%s@@%d", image, offset), "::" + name}
}
