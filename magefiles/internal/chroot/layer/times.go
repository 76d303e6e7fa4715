package layer

import (
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// BuildTime is the time, in seconds since 1970, of every file in a layer that
// changed while the layer was made: a layer is used again at other times, and
// what it holds must not depend on when it was made first. It is the latest
// time that all file systems of an image can keep, so that packing, which
// knows the latest time a file may have, takes it for too late.
const BuildTime = math.MaxInt32 - 1

// forgetTime gives BuildTime to what changed in tree since then.
func forgetTime(tree string, since time.Time) error {
	changed := []unix.Timespec{{Sec: BuildTime}, {Sec: BuildTime}}
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.ModTime().Before(since) {
			return err
		}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, changed, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return &fs.PathError{Op: "utimensat", Path: path, Err: err}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("setting the times of what was made: %w", err)
	}
	return nil
}
