package card

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/firmware"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
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
	if err := diskimage.CopyFAT(ctx, img.Path, img.Boot, tmp); err != nil {
		return fmt.Errorf("copying the boot partition of %s: %w", img.Path, err)
	}
	sys := firmware.System{Partitions: []string{img.BootPARTUUID, img.RootPARTUUID}}
	if sys.Fstab, err = diskimage.ReadExt4File(ctx, img.Path, img.Root, "/etc/fstab"); err != nil {
		return err
	}
	if sys.Modules, _, err = diskimage.ListExt4(ctx, img.Path, img.Root, "/usr/lib/modules"); err != nil {
		return err
	}
	_, programs, err := diskimage.ListExt4(ctx, img.Path, img.Root, "/usr/bin")
	if err != nil {
		return err
	}
	boot := os.DirFS(tmp)
	if err := errors.Join(firmware.Check(boot, sys), firmware.CheckImager(initFormat, boot, programs)); err != nil {
		return fmt.Errorf("a Raspberry Pi could not boot %s:\n%w", filepath.Base(img.Path), err)
	}
	return nil
}
