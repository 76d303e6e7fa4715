package card

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/firmware"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// CheckFirmware reports everything on the image that would keep a Raspberry Pi
// from booting it. No emulator runs the firmware, so its files are read the way
// it would. They are copied to a directory in dir for that. Whether the image goes
// with the init_format that Raspberry Pi Imager is told is seen by the way.
func (img *Image) CheckFirmware(ctx context.Context, initFormat, dir string) (err error) {
	tmp, err := os.MkdirTemp(dir, "boot-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := process.Run(ctx, copyAllArgv(img.Path, img.Boot.Start, tmp)...); err != nil {
		return fmt.Errorf("copying the boot partition of %s: %w", img.Path, err)
	}
	sys := firmware.System{Partitions: []string{img.Boot.PARTUUID, img.Root.PARTUUID}}
	if sys.Fstab, err = img.debugfs(ctx, "cat /etc/fstab"); err != nil {
		return err
	}
	modules, err := img.debugfs(ctx, "ls -p /usr/lib/modules")
	if err != nil {
		return err
	}
	sys.Modules = names(modules, "04")
	programs, err := img.debugfs(ctx, "ls -p /usr/bin")
	if err != nil {
		return err
	}
	boot := os.DirFS(tmp)
	if err := errors.Join(firmware.Check(boot, sys), firmware.CheckImager(initFormat, boot, names(programs, "1"))); err != nil {
		return fmt.Errorf("a Raspberry Pi could not boot %s:\n%w", filepath.Base(img.Path), err)
	}
	return nil
}

// debugfs asks for something in the root file system.
func (img *Image) debugfs(ctx context.Context, request string) (string, error) {
	out, err := process.Output(ctx, "debugfs", "-R", request, fmt.Sprintf("%s?offset=%d", img.Path, img.Root.Start))
	if err != nil {
		return "", fmt.Errorf("reading the root file system of %s: %w", img.Path, err)
	}
	return out, nil
}

// names reads what debugfs prints for `ls -p`, /inode/mode/uid/gid/name/size/, and
// returns the names of those with a mode of a kind.
func names(out, kind string) []string {
	var found []string
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "/")
		if len(f) > 5 && strings.HasPrefix(f[2], kind) && f[5] != "." && f[5] != ".." {
			found = append(found, f[5])
		}
	}
	return found
}

// copyAllArgv copies all of the FAT file system at offset of an image.
func copyAllArgv(image string, offset int64, dir string) []string {
	return []string{"mcopy", "-s", "-n", "-i", fmt.Sprintf("%s@@%d", image, offset), "::/", dir + "/"}
}
