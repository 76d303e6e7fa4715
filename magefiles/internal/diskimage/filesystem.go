package diskimage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// FAT is what identifies the boot file system.
type FAT struct {
	Label string
	ID    uint32 // volume serial number
}

// UUID is the volume serial number the way blkid and fstab write it.
func (f FAT) UUID() string { return fmt.Sprintf("%04X-%04X", f.ID>>16, f.ID&0xffff) }

// Ext4 is what identifies the root file system and what it may use.
type Ext4 struct {
	Label     string
	UUID      string
	Features  []string // as e2fsprogs names them, without those that only tell a state
	InodeSize string   // bytes
	HashSeed  string   // a UUID
}

// ReadFAT reads the identity of the FAT file system in partition p of img.
func ReadFAT(ctx context.Context, img string, p Partition) (FAT, error) {
	tags, err := probe(ctx, img, p)
	if err != nil {
		return FAT{}, err
	}
	if tags["TYPE"] != "vfat" {
		return FAT{}, fmt.Errorf("boot partition of %s: found %q, want a FAT file system", img, tags["TYPE"])
	}
	var id uint32
	if _, err := fmt.Sscanf(strings.ReplaceAll(tags["UUID"], "-", ""), "%x", &id); err != nil {
		return FAT{}, fmt.Errorf("boot partition of %s: volume id %q: %w", img, tags["UUID"], err)
	}
	return FAT{Label: tags["LABEL"], ID: id}, nil
}

func probe(ctx context.Context, img string, p Partition) (map[string]string, error) {
	out, err := process.Output(ctx, "blkid", "--probe", "--output", "export",
		"--offset", fmt.Sprint(p.Start), "--size", fmt.Sprint(p.Size), img)
	if err != nil {
		return nil, fmt.Errorf("looking for a file system at byte %d of %s: %w", p.Start, img, err)
	}
	tags := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			tags[k] = v
		}
	}
	return tags, nil
}

// ReadExt4 reads the superblock of the ext4 file system in partition p of img.
func ReadExt4(ctx context.Context, img string, p Partition) (Ext4, error) {
	header, err := superblock(ctx, img, p)
	if err != nil {
		return Ext4{}, err
	}
	return parseExt4(header), nil
}

func superblock(ctx context.Context, img string, p Partition) (map[string]string, error) {
	// dumpe2fs would do, but that of 1.47.2 does not take an offset.
	out, err := debugfs(ctx, img, p, "stats -h")
	if err != nil {
		return nil, err
	}
	header := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			header[k] = strings.TrimSpace(v)
		}
	}
	if header["Filesystem UUID"] == "" {
		return nil, fmt.Errorf("byte %d of %s: found no ext4 file system", p.Start, img)
	}
	return header, nil
}

func parseExt4(header map[string]string) Ext4 {
	fs := Ext4{
		UUID:      header["Filesystem UUID"],
		InodeSize: header["Inode size"],
		HashSeed:  header["Directory Hash Seed"],
		Features: slices.DeleteFunc(strings.Fields(header["Filesystem features"]), func(f string) bool {
			return f == "needs_recovery" || f == "orphan_present"
		}),
	}
	if label := header["Filesystem volume name"]; label != "<none>" {
		fs.Label = label
	}
	return fs
}
