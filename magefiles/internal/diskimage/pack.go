package diskimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Layout says what a new image looks like. The root partition starts where
// the boot partition ends.
type Layout struct {
	ID        uint32 // MBR disk identifier
	BootStart int64  // bytes
	BootSize  int64  // bytes
	BootType  string // MBR partition type
	Boot      FAT
	Root      Ext4
	Headroom  int64     // bytes left free in the root file system
	Time      time.Time // of what is made with the file systems
	Latest    time.Time // of files: later times become this one; by default Time
}

// Source shows the files of an image to commands: RootDir and BootDir exist
// only for a command that was passed through Argv.
type Source interface {
	Argv(argv ...string) []string
	RootDir() string
	BootDir() string
}

const (
	blockSize = 4096
	eraseSize = 4 << 20 // bytes; images end on a multiple of it, as SD cards erase
)

// Pack writes an image of l with the files of src into the new file img. What
// a failed attempt has written stays: img is the caller's to rename or remove.
//
// What a root file system takes beside its files shows in an empty one, which
// is made first. It is filled again if the size reckoned from that leaves more
// or less free than the headroom: a smaller image is written to every card.
func Pack(ctx context.Context, l Layout, src Source, img string) error {
	if l.Latest.IsZero() {
		l.Latest = l.Time
	}
	use, err := measure(ctx, src)
	if err != nil {
		return fmt.Errorf("measuring the root file system: %w", err)
	}
	size, err := l.rootSize(ctx, img, use)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		if err := l.packOnce(ctx, src, img, size, use.inodes); err != nil {
			return err
		}
		free, err := freeBytes(ctx, img, l.root(size))
		if err != nil {
			return err
		}
		surplus := free - l.Headroom
		if attempt == 3 || (surplus >= 0 && surplus < 2*eraseSize) {
			if surplus < 0 {
				return fmt.Errorf("the root file system of %s has %d bytes free, want %d", img, free, l.Headroom)
			}
			break
		}
		size = roundUp(size-surplus+eraseSize/2, eraseSize)
	}
	return check(ctx, img, l.root(size))
}

// rootSize reckons the size in bytes of a root file system that holds u and
// leaves the headroom free.
func (l Layout) rootSize(ctx context.Context, img string, u usage) (int64, error) {
	size := l.Headroom + u.most()
	if err := os.Truncate(img, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	argv := mke2fsArgv(l.Root, l.root(size), u.inodes, "", img)
	if err := (process.Cmd{Argv: argv, Env: toolEnvAt(l.Time)}).Run(ctx); err != nil {
		return 0, fmt.Errorf("trying out an empty root file system in %s: %w", img, err)
	}
	free, err := freeBytes(ctx, img, l.root(size))
	if err != nil {
		return 0, err
	}
	return roundUp(size-free+u.likely()+l.Headroom+eraseSize/2, eraseSize), nil
}

func (l Layout) boot() Partition { return Partition{l.BootStart, l.BootSize, l.BootType} }

func (l Layout) root(size int64) Partition {
	return Partition{l.BootStart + l.BootSize, size, "83"}
}

func (l Layout) packOnce(ctx context.Context, src Source, img string, size, inodes int64) error {
	boot, root := l.boot(), l.root(size)
	f, err := os.Create(img)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(root.Start+root.Size), f.Close()); err != nil {
		return fmt.Errorf("sizing %s: %w", img, err)
	}
	if err := (Table{l.ID, []Partition{boot, root}}).write(ctx, img); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"making the boot file system", func(ctx context.Context) error {
			return process.Cmd{Argv: mkfatArgv(l.Boot, boot, img), Env: toolEnvAt(l.Time)}.Run(ctx)
		}},
		{"filling the boot file system", func(ctx context.Context) error {
			return l.fillBoot(ctx, src, img)
		}},
		{"making the root file system", func(ctx context.Context) error {
			argv := src.Argv(mke2fsArgv(l.Root, root, inodes, src.RootDir(), img)...)
			return process.Cmd{Argv: argv, Env: toolEnvAt(l.Time)}.Run(ctx)
		}},
		{"setting the times of the root file system", func(context.Context) error {
			return clampTimes(img, root, l.Latest)
		}},
	} {
		ctx, span := timing.Start(ctx, step.what)
		err := step.run(ctx)
		span.End()
		if err != nil {
			return fmt.Errorf("%s of %s: %w", step.what, img, err)
		}
	}
	return nil
}

func mkfatArgv(fat FAT, p Partition, img string) []string {
	argv := []string{
		"mkfs.vfat", "-F", "32", "--invariant", "-n", fat.Label, "-i", fmt.Sprintf("%08x", fat.ID),
		"--offset", fmt.Sprint(p.Start / SectorSize),
	}
	if fat.ClusterSectors > 0 {
		argv = append(argv, "-s", fmt.Sprint(fat.ClusterSectors))
	}
	return append(argv, img, fmt.Sprint(p.Size/1024))
}

// mke2fs sorts what it finds in a directory by itself.
func mke2fsArgv(ext4 Ext4, p Partition, inodes int64, dir, img string) []string {
	argv := []string{
		"mke2fs", "-q", "-F", "-t", "ext4", "-O", "none," + strings.Join(ext4.Features, ","),
		"-b", fmt.Sprint(blockSize), "-I", ext4.InodeSize, "-N", fmt.Sprint(inodeCount(inodes)),
		"-U", ext4.UUID, "-L", ext4.Label,
		"-E", fmt.Sprintf("offset=%d,hash_seed=%s,root_owner=0:0,lazy_itable_init=0,nodiscard", p.Start, ext4.HashSeed),
	}
	if dir != "" {
		argv = append(argv, "-d", dir)
	}
	return append(argv, img, fmt.Sprintf("%dk", p.Size/1024))
}

func freeBytes(ctx context.Context, img string, root Partition) (int64, error) {
	header, err := superblock(ctx, img, root)
	if err != nil {
		return 0, err
	}
	blocks, err := strconv.ParseInt(header["Free blocks"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("free blocks of %s: %w", img, err)
	}
	return blocks * blockSize, nil
}

func check(ctx context.Context, img string, root Partition) error {
	ctx, span := timing.Start(ctx, "checking the root file system")
	defer span.End()
	if err := CheckExt4(ctx, img, root); err != nil {
		return fmt.Errorf("the new root file system of %s is not sound: %w", img, err)
	}
	return nil
}

// usage is what the files of a tree need in an ext4 file system. It is taken
// only from what the files are, not from what the build machine's file system
// needs for them: from the first size, the last one follows.
type usage struct {
	bytes   int64 // of contents, in whole blocks, holes included
	inodes  int64
	entries int64 // of directories
}

func measure(ctx context.Context, src Source) (usage, error) {
	ctx, span := timing.Start(ctx, "measuring the root file system")
	defer span.End()
	out := &usageCounter{seen: map[string]bool{}}
	err := process.Cmd{
		Argv:   src.Argv("find", src.RootDir(), "-xdev", "-printf", `%y %D:%i %n %s\n`),
		Stdout: out,
	}.Run(ctx)
	if err == nil {
		err = out.err
	}
	return out.usage, err
}

// usageCounter is a writer that adds up find's lines: type, inode, links and
// size in bytes.
type usageCounter struct {
	usage
	seen map[string]bool // inodes with several links
	rest []byte
	err  error
}

func (u *usageCounter) Write(p []byte) (int, error) {
	u.rest = append(u.rest, p...)
	for {
		i := slices.Index(u.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		if err := u.line(string(u.rest[:i])); err != nil && u.err == nil {
			u.err = err
		}
		u.rest = u.rest[i+1:]
	}
}

func (u *usageCounter) line(s string) error {
	var kind, inode string
	var links, size int64
	if _, err := fmt.Sscan(s, &kind, &inode, &links, &size); err != nil {
		return fmt.Errorf("reading find's line %q: %w", s, err)
	}
	u.entries++
	if kind != "d" && links > 1 {
		if u.seen[inode] {
			return nil
		}
		u.seen[inode] = true
	}
	u.inodes++
	switch kind {
	case "f":
		u.bytes += roundUp(size, blockSize)
	case "d":
		u.bytes += blockSize
	}
	return nil
}

// most is more than u takes, with all that an ext4 file system has beside it.
func (u usage) most() int64 {
	const longestEntry = 264
	data := u.bytes + inodeCount(u.inodes)*256 + u.entries*longestEntry
	journalAndDescriptors := int64(64<<20) + 16<<20 + data/100
	return roundUp(data+journalAndDescriptors, eraseSize)
}

// likely is what u takes with names of the usual length.
func (u usage) likely() int64 {
	const usualEntry = 32
	return u.bytes + u.entries*usualEntry
}

// inodeCount leaves a third free: a device makes files before it has grown.
func inodeCount(used int64) int64 { return used + used/3 + 4096 }

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }
