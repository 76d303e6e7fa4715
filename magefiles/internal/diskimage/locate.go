package diskimage

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Locate says what the byte at offset of an image belongs to.
func Locate(ctx context.Context, img string, offset int64) (string, error) {
	table, err := Read(ctx, img)
	if err != nil {
		return "", err
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		return "", err
	}
	in := func(p Partition) bool { return offset >= p.Start && offset < p.Start+p.Size }
	switch {
	case in(boot):
		return fmt.Sprintf("byte %d of the boot partition", offset-boot.Start), nil
	case in(root):
		return locateInRoot(ctx, img, root, offset-root.Start)
	case offset < SectorSize:
		return "the partition table", nil
	}
	return "no partition", nil
}

func locateInRoot(ctx context.Context, img string, root Partition, offset int64) (string, error) {
	file, err := os.Open(img)
	if err != nil {
		return "", err
	}
	defer file.Close()
	fs, err := openExt4(file, root)
	if err != nil {
		return "", err
	}
	block := offset / fs.blockSize
	where := fmt.Sprintf("byte %d of the root partition", offset)
	if offset >= superblockStart && offset < superblockStart+superblockSize {
		return where + ", in the superblock", nil
	}
	if inode := fs.inodeAt(offset); inode > 0 {
		return fmt.Sprintf("%s, in inode %d%s", where, inode, nameOf(ctx, img, root, inode)), nil
	}
	owner, err := debugfs(ctx, img, root, fmt.Sprint("icheck ", block))
	if err != nil {
		return "", err
	}
	if inode := secondNumber(owner); inode > 0 {
		return fmt.Sprintf("%s, in a block of inode %d%s", where, inode, nameOf(ctx, img, root, inode)), nil
	}
	return where + ", in no file's block", nil
}

// inodeAt returns the number of the inode that offset is in, or 0.
func (fs *ext4FS) inodeAt(offset int64) int64 {
	for n, g := range fs.groups {
		in := offset - g.inodeTable*fs.blockSize
		if in >= 0 && in < fs.inodesPerGroup*fs.inodeSize {
			return int64(n)*fs.inodesPerGroup + in/fs.inodeSize + 1
		}
	}
	return 0
}

func nameOf(ctx context.Context, img string, root Partition, inode int64) string {
	out, err := debugfs(ctx, img, root, fmt.Sprint("ncheck ", inode))
	lines := strings.Split(out, "\n")
	if err != nil || len(lines) < 2 {
		return "" // the journal, for one, has no name
	}
	_, name, _ := strings.Cut(lines[1], "\t")
	return ", " + name
}

// secondNumber reads debugfs's answer to icheck: a heading, then a line of the
// block and its inode.
func secondNumber(answer string) int64 {
	lines := strings.Split(answer, "\n")
	if len(lines) < 2 {
		return 0
	}
	_, second, _ := strings.Cut(lines[1], "\t")
	n, err := strconv.ParseInt(second, 10, 64)
	if err != nil {
		return 0 // "<block not found>"
	}
	return n
}
