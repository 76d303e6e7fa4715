package diskimage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// FAT is what identifies the boot file system, and how it is laid out.
type FAT struct {
	Label          string
	ID             uint32 // volume serial number
	ClusterSectors int    // 0 leaves it to mkfs.vfat
}

// UUID is the volume serial number the way blkid and fstab write it.
func (f FAT) UUID() string { return fmt.Sprintf("%04X-%04X", f.ID>>16, f.ID&0xffff) }

// CheckLabel refuses a label that mkfs.vfat does not write, or as other bytes.
func (f FAT) CheckLabel() error {
	const most = 11
	bad := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`*?.,;:/\|+=<>[]"`, r) }
	if len(f.Label) > most || strings.HasPrefix(f.Label, " ") || strings.ContainsFunc(f.Label, bad) {
		return fmt.Errorf("the label %q of the boot file system can not be written again: want at most %d characters of ASCII, no blank at the start and none of *?.,;:/\\|+=<>[]\"; `fatlabel` changes it in the base image", f.Label, most)
	}
	return nil
}

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
	out, err := probe(ctx, img, p, "--output", "export")
	if err != nil {
		return FAT{}, err
	}
	tags := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			tags[k] = v
		}
	}
	if tags["TYPE"] != "vfat" {
		return FAT{}, fmt.Errorf("boot partition of %s: found %q, want a FAT file system", img, tags["TYPE"])
	}
	var fat FAT
	if _, err := fmt.Sscanf(strings.ReplaceAll(tags["UUID"], "-", ""), "%x", &fat.ID); err != nil {
		return FAT{}, fmt.Errorf("boot partition of %s: volume id %q: %w", img, tags["UUID"], err)
	}
	if _, ok := tags["LABEL"]; ok { // with escapes; as bytes it comes only by itself
		if fat.Label, err = probe(ctx, img, p, "--output", "value", "--match-tag", "LABEL"); err != nil {
			return FAT{}, err
		}
	}
	fat.ClusterSectors, err = clusterSectors(img, p)
	return fat, err
}

// clusterSectors reads the byte 13 of a FAT file system.
func clusterSectors(img string, p Partition) (int, error) {
	f, err := os.Open(img)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var sectors [1]byte
	if _, err := f.ReadAt(sectors[:], p.Start+13); err != nil {
		return 0, fmt.Errorf("reading the boot file system of %s: %w", img, err)
	}
	return int(sectors[0]), nil
}

func probe(ctx context.Context, img string, p Partition, how ...string) (string, error) {
	argv := append([]string{"blkid", "--probe", "--offset", fmt.Sprint(p.Start), "--size", fmt.Sprint(p.Size)}, how...)
	out, err := process.Output(ctx, append(argv, img)...)
	if err != nil {
		return "", fmt.Errorf("looking for a file system at byte %d of %s: %w", p.Start, img, err)
	}
	return out, nil
}

// ReadExt4 reads the superblock of the ext4 file system in partition p of img.
func ReadExt4(ctx context.Context, img string, p Partition) (Ext4, error) {
	header, err := superblock(ctx, img, p)
	if err != nil {
		return Ext4{}, err
	}
	fs := parseExt4(header)
	fs.Label, err = ext4Label(img, p)
	return fs, err
}

// ext4Label reads the label itself: debugfs shows it between its own words and
// with escapes.
func ext4Label(img string, p Partition) (string, error) {
	const start, size = superblockStart + 0x78, 16
	file, err := os.Open(img)
	if err != nil {
		return "", err
	}
	defer file.Close()
	label := make([]byte, size)
	if _, err := file.ReadAt(label, p.Start+start); err != nil {
		return "", fmt.Errorf("reading the label of the root file system of %s: %w", img, err)
	}
	label, _, _ = bytes.Cut(label, []byte{0})
	if !utf8.Valid(label) {
		return "", fmt.Errorf("the label %q of the root file system of %s is no UTF-8: `e2label` changes it", label, img)
	}
	return string(label), nil
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
	return Ext4{
		UUID:      header["Filesystem UUID"],
		InodeSize: header["Inode size"],
		HashSeed:  header["Directory Hash Seed"],
		Features: slices.DeleteFunc(strings.Fields(header["Filesystem features"]), func(f string) bool {
			return f == "needs_recovery" || f == "orphan_present"
		}),
	}
}
