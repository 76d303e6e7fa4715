package card

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// File is a file to write to the boot partition, or to delete from it.
type File struct {
	Name    string
	Content []byte
	Deleted bool
}

// NewOverlay makes a qcow2 device called name in dir over the image, size bytes
// large, with files written to its boot partition. The image is not touched.
func (img *Image) NewOverlay(ctx context.Context, dir, name string, size int64, files []File) (err error) {
	if size < img.Size {
		return fmt.Errorf("the device would have %d bytes, the image has %d", size, img.Size)
	}
	// A relative name cannot be mistaken for a protocol and moves with the directory.
	backing, err := filepath.Rel(dir, img.Path)
	if err != nil {
		return err
	}
	if err := (process.Cmd{Argv: createArgv(backing, name, size), Dir: dir}).Run(ctx); err != nil {
		return fmt.Errorf("making the device %s: %w", filepath.Join(dir, name), err)
	}
	// mtools cannot write to a qcow2, and the storage daemon that could export one
	// as a file needs FUSE and a mount. So: copy the file system out, let mtools
	// write, and bring the blocks that differ into the overlay.
	tmp, err := os.MkdirTemp(dir, "fat-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	raw, err := os.Open(img.Path)
	if err != nil {
		return err
	}
	defer raw.Close()
	fat := filepath.Join(tmp, "fat")
	if err := copySparse(fat, raw, img.Boot.Start, img.Boot.Size); err != nil {
		return fmt.Errorf("copying the boot partition of %s: %w", img.Path, err)
	}
	if err := writeFiles(ctx, fat, files); err != nil {
		return err
	}
	chunks, err := saveChanges(raw, img.Boot, fat, tmp)
	if err != nil {
		return fmt.Errorf("finding what changed in the boot partition: %w", err)
	}
	for part := range slices.Chunk(chunks, 100) {
		cmd := process.Cmd{Argv: patchArgv(filepath.Join("..", name), part), Dir: tmp}
		if err := cmd.Run(ctx); err != nil {
			return fmt.Errorf("writing the boot partition to the device: %w", err)
		}
	}
	return nil
}

// writeFiles writes files to a copy of a boot partition.
func writeFiles(ctx context.Context, fat string, files []File) error {
	for _, f := range files {
		var err error
		if f.Deleted {
			err = diskimage.RemoveFATFile(ctx, fat, diskimage.Partition{}, f.Name)
		} else {
			err = diskimage.WriteFATFile(ctx, fat, diskimage.Partition{}, f.Name, bytes.NewReader(f.Content))
		}
		if err != nil {
			return fmt.Errorf("writing %s to the device's boot partition: %w", f.Name, err)
		}
	}
	return nil
}

// Overlay makes a qcow2 device called name in dir over another one, whose path is
// relative to dir. The other one must not change as long as the overlay is used.
func Overlay(ctx context.Context, dir, name, below string) error {
	argv := []string{"qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", name}
	if err := (process.Cmd{Argv: argv, Dir: dir}).Run(ctx); err != nil {
		return fmt.Errorf("making the device %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

// changeBlock is the unit of comparison; qcow2 allocates clusters of this size.
const changeBlock = 64 << 10

// chunk is a changed part of the device, its content in a file of its own.
type chunk struct {
	file   string
	offset int64
	length int64
}

// saveChanges compares a changed copy of a partition with the original and
// writes each run of blocks that differ to a file in dir.
func saveChanges(original io.ReaderAt, p diskimage.Partition, changed, dir string) (chunks []chunk, err error) {
	f, err := os.Open(changed)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	runs, err := changes(io.NewSectionReader(original, p.Start, p.Size), f, p.Size)
	if err != nil {
		return nil, err
	}
	for i, r := range runs {
		c := chunk{file: strconv.Itoa(i), offset: p.Start + r.Start, length: r.End - r.Start}
		if err := copySparse(filepath.Join(dir, c.file), f, r.Start, c.length); err != nil {
			return nil, err
		}
		chunks = append(chunks, c)
	}
	return chunks, nil
}

// changes returns the runs of blocks in which two versions of size bytes differ.
func changes(a, b io.ReaderAt, size int64) ([]diskimage.Range, error) {
	var runs []diskimage.Range
	bufA, bufB := make([]byte, changeBlock), make([]byte, changeBlock)
	for at := int64(0); at < size; at += changeBlock {
		n := min(changeBlock, size-at)
		if _, err := a.ReadAt(bufA[:n], at); err != nil {
			return nil, err
		}
		if _, err := b.ReadAt(bufB[:n], at); err != nil {
			return nil, err
		}
		switch last := len(runs) - 1; {
		case bytes.Equal(bufA[:n], bufB[:n]):
		case last >= 0 && runs[last].End == at:
			runs[last].End += n
		default:
			runs = append(runs, diskimage.Range{Start: at, End: at + n})
		}
	}
	return runs, nil
}

func createArgv(backing, name string, size int64) []string {
	return []string{"qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", "raw", name, strconv.FormatInt(size, 10)}
}

// patchArgv writes chunks to a device. qemu-io splits its commands at every
// space, so the names in them must have none.
func patchArgv(overlay string, chunks []chunk) []string {
	argv := []string{"qemu-io", "-f", "qcow2"}
	for _, c := range chunks {
		argv = append(argv, "-c", fmt.Sprintf("write -q -s %s %d %d", c.file, c.offset, c.length))
	}
	return append(argv, overlay)
}

// CheckRoot takes the root file system out of a device that is not running and
// lets e2fsck look at it without changing it. The device may have been resized:
// its own partition table says where the file system is.
func CheckRoot(ctx context.Context, dir, name string) (err error) {
	tmp, err := os.MkdirTemp(dir, "fsck-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	raw := filepath.Join(tmp, "device.img")
	if err := (process.Cmd{Argv: []string{"qemu-img", "convert", "-q", "-f", "qcow2", "-O", "raw", name, raw}, Dir: dir}).Run(ctx); err != nil {
		return fmt.Errorf("reading the device %s: %w", filepath.Join(dir, name), err)
	}
	table, err := diskimage.Read(ctx, raw)
	if err != nil {
		return err
	}
	_, root, err := table.RaspberryPi()
	if err != nil {
		return fmt.Errorf("the partition table of the device: %w", err)
	}
	if err := diskimage.CheckExt4(ctx, raw, root); err != nil {
		return fmt.Errorf("checking the root file system: %w", err)
	}
	return nil
}
