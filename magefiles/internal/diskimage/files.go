package diskimage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Files shows commands the files of an image, read-only. It is a Source.
type Files struct {
	img        string
	boot, root Partition
	dir        string
}

// OpenFiles returns the files of img. Their mount points are in dir, which is
// the caller's to make and to remove: commands mount in namespaces of their own.
func OpenFiles(ctx context.Context, img, dir string) (Files, error) {
	table, err := Read(ctx, img)
	if err != nil {
		return Files{}, err
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		return Files{}, fmt.Errorf("%s: %w", img, err)
	}
	f := Files{img, boot, root, dir}
	for _, d := range []string{f.RootDir(), f.BootDir()} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return f, err
		}
	}
	return f, nil
}

// RootDir is where commands run by Argv see the root file system.
func (f Files) RootDir() string { return filepath.Join(f.dir, "root") }

// BootDir is where commands run by Argv see a copy of the boot file system.
func (f Files) BootDir() string { return filepath.Join(f.dir, "boot") }

// Argv returns the command that runs argv with the files in place.
func (f Files) Argv(argv ...string) []string {
	const show = `mount -t ext4 -o "ro,noload,loop,offset=$2,sizelimit=$3" "$1" "$4"
mount -t tmpfs -o mode=755 tmpfs "$5"
env TZ=UTC MTOOLSRC=/dev/null MTOOLS_SKIP_CHECK=1 mcopy -s -p -Q -n -m -i "$6" '::*' "$5"
shift 6
exec "$@"`
	return append([]string{
		"unshare", "--mount", "--propagation", "private", "--",
		"sh", "-euc", show, "sh",
		f.img, fmt.Sprint(f.root.Start), fmt.Sprint(f.root.Size), f.RootDir(), f.BootDir(), mtoolsImage(f.img, f.boot),
	}, argv...)
}
