package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

const (
	// cardSize is what an image is made with that a build runs in.
	cardSize = 8 << 30
	// deleted is what such a build has written and removed again: package
	// archives and lists, what was unpacked and replaced.
	deleted = 512 << 20
)

// pack measures making an image from the finished tree against shrinking an
// image that the tree was written into, as one does after building in place,
// each with its compression.
func pack(ctx context.Context, s *session) error {
	if _, err := s.fromNothing(ctx); err != nil {
		return err
	}
	img, err := s.image()
	if err != nil {
		return err
	}
	dir := filepath.Join(s.scratch.Dir, "pack")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	s.Log.Printf("extracting the image, and writing it into one of 8 GiB")
	in, err := newPackInputs(ctx, img, dir)
	if err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	var packed, shrunk []outcome
	for round := range s.Runs {
		for side := range indices(2, round%2 == 1) {
			what, way, all := "making an image from the tree", in.fromTree, &packed
			if side == 1 {
				what, way, all = "shrinking an image of 8 GiB", in.inPlace, &shrunk
			}
			s.Log.Printf("%s, and compressing it, %d of %d", what, round+1, s.Runs)
			o, err := way(ctx)
			if err != nil {
				return err
			}
			*all = append(*all, o)
		}
	}
	s.report.add(compare(packed, shrunk)...)
	return os.RemoveAll(dir)
}

// outcome is what one way of making an image took, and what it made.
type outcome struct {
	image, compression time.Duration
	raw, nonZero, xz   int64 // bytes
}

func compare(packed, shrunk []outcome) []Row {
	var rows []Row
	const reference = "e2fsck, resize2fs -M, zerofree on 8 GiB"
	runs := len(packed)
	duration := func(what string, of func(outcome) time.Duration) {
		rows = append(rows, Row{What: what, Measured: seconds(medianOf(packed, of)), Reference: reference, Other: seconds(medianOf(shrunk, of)), Runs: runs})
	}
	size := func(what string, of func(outcome) int64) {
		rows = append(rows, Row{What: what, Measured: bytesOf(of(packed[0])), Reference: reference, Other: bytesOf(of(shrunk[0])), Runs: runs})
	}
	duration("image from the tree", func(o outcome) time.Duration { return o.image })
	duration("its compression, xz -0", func(o outcome) time.Duration { return o.compression })
	duration("both", func(o outcome) time.Duration { return o.image + o.compression })
	size("size of the raw image", func(o outcome) int64 { return o.raw })
	size("blocks in it that are not zero", func(o outcome) int64 { return o.nonZero })
	size("size compressed, xz -0", func(o outcome) int64 { return o.xz })
	return rows
}

func medianOf(all []outcome, of func(outcome) time.Duration) time.Duration {
	var picked []time.Duration
	for _, o := range all {
		picked = append(picked, of(o))
	}
	return middle(picked)
}

// packInputs is what the two ways of making an image start from: the finished
// tree, and a file system that it was built in.
type packInputs struct {
	dir    string
	layout diskimage.Layout
	tree   string
	head   string // partition table and boot file system of an image
	used   string // a root file system of the card's size that was built in
}

// newPackInputs extracts an image and puts its tree into a larger one.
func newPackInputs(ctx context.Context, img, dir string) (*packInputs, error) {
	table, err := diskimage.Read(ctx, img)
	if err != nil {
		return nil, err
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		return nil, err
	}
	in := &packInputs{
		dir: dir, tree: filepath.Join(dir, "tree"), head: filepath.Join(dir, "head"), used: filepath.Join(dir, "used"),
		layout: diskimage.Layout{
			ID: table.ID, BootStart: boot.Start, BootSize: boot.Size, BootType: boot.Type,
			Headroom: 0, Time: time.Unix(0, 0),
		},
	}
	if in.layout.Boot, err = diskimage.ReadFAT(ctx, img, boot); err != nil {
		return nil, err
	}
	if in.layout.Root, err = diskimage.ReadExt4(ctx, img, root); err != nil {
		return nil, err
	}
	if err := os.Mkdir(in.tree, 0o755); err != nil {
		return nil, err
	}
	if err := diskimage.Extract(ctx, img, boot, root, in.tree, chroot.BootDir); err != nil {
		return nil, err
	}
	for _, argv := range [][]string{
		{"dd", "if=" + img, "of=" + in.head, "bs=1M", "iflag=count_bytes", fmt.Sprintf("count=%d", root.Start), "conv=sparse"},
		{"truncate", fmt.Sprintf("--size=%d", root.Start), in.head},
		{"truncate", fmt.Sprintf("--size=%d", cardSize-root.Start), in.used},
		{"mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard", in.used},
		buildInPlaceArgv(in.used, in.tree),
	} {
		if err := process.Run(ctx, argv...); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// buildInPlaceArgv writes a tree into a file system, and around it what is
// removed again. The mount is in a namespace of its own, so nothing of it can
// be left behind. The boot partition's files are not the root file system's.
func buildInPlaceArgv(img, tree string) []string {
	return []string{
		"unshare", "--mount", "--propagation", "private", "--",
		"sh", "-euc", `mount -t ext4 -o loop "$1" /mnt
head -c "$3" /dev/urandom >/mnt/before
cp -a "$2/." /mnt
head -c "$3" /dev/urandom >/mnt/after
sync --file-system /mnt
rm -rf /mnt/before /mnt/after "/mnt/$4"/*
umount /mnt`, "sh",
		img, tree, fmt.Sprint(deleted / 2), chroot.BootDir,
	}
}

// fromTree makes an image as a build does.
func (in *packInputs) fromTree(ctx context.Context) (o outcome, err error) {
	img := filepath.Join(in.dir, "packed.img")
	defer func() { err = errors.Join(err, os.RemoveAll(img)) }()
	err = withView(in.tree, filepath.Join(in.dir, "view"), func(v chroot.View) error {
		o.image, err = timed(func() error { return diskimage.Pack(ctx, in.layout, v, img) })
		return err
	})
	if err != nil {
		return o, err
	}
	return o, o.compress(ctx, filepath.Join(in.dir, "packed.img.xz"), img)
}

// inPlace shrinks a copy of the image that was built in: checked, moved
// together and cut off behind the last block, which are PiShrink's steps, and
// what is free in it set to zero.
func (in *packInputs) inPlace(ctx context.Context) (o outcome, err error) {
	img := filepath.Join(in.dir, "shrunk")
	defer func() { err = errors.Join(err, os.RemoveAll(img)) }()
	if err := process.Run(ctx, "cp", "--sparse=always", in.used, img); err != nil {
		return o, err
	}
	o.image, err = timed(func() error {
		for _, argv := range shrinkArgvs(img) {
			if err := process.Run(ctx, argv...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return o, err
	}
	return o, o.compress(ctx, filepath.Join(in.dir, "shrunk.xz"), in.head, img)
}

// shrinkArgvs are the commands that shrink a file with an ext4 file system.
// resize2fs also cuts the file.
func shrinkArgvs(img string) [][]string {
	return [][]string{
		{"e2fsck", "-f", "-p", img},
		{"resize2fs", "-M", img},
		{"zerofree", img},
	}
}

// compress fills in what compressing the parts of an image, one after the
// other, takes and makes.
func (o *outcome) compress(ctx context.Context, to string, parts ...string) (err error) {
	for _, part := range parts {
		info, err := os.Stat(part)
		if err != nil {
			return err
		}
		n, err := nonZero(part)
		if err != nil {
			return err
		}
		o.raw += info.Size()
		o.nonZero += n
	}
	o.compression, err = timed(func() error {
		return process.Run(ctx, append([]string{"sh", "-euc", `to=$1; shift; cat "$@" | xz --stdout --threads=0 -0 >"$to"`, "sh", to}, parts...)...)
	})
	if err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	o.xz = info.Size()
	return os.Remove(to)
}

// nonZero returns the bytes in blocks of 4 KiB that are not all zero.
func nonZero(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var n int64
	block, zero := make([]byte, 4096), make([]byte, 4096)
	for at := int64(0); ; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return n, nil // only a hole is left
		}
		if err != nil {
			return 0, fmt.Errorf("looking for data in %s: %w", path, err)
		}
		at = data &^ 4095
		got, err := f.ReadAt(block, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if !bytes.Equal(block[:got], zero[:got]) {
			n += int64(got)
		}
		at += int64(len(block))
	}
}
