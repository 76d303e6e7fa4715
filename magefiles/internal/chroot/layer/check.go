package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// damage is what makes a layer one that must not be used.
type damage struct{ path, what string }

func (d *damage) Error() string { return fmt.Sprintf("%s %s", d.path, d.what) }

// check compares the layer at dir with its record. What the kernel's own times
// show to be untouched is not read; a file that has other times, which linking
// to it brings about, too, is read and compared, and its new times are
// recorded. With all, every file is read. The error is a *damage if the layer
// is not what was recorded.
func check(ctx context.Context, dir string, all bool) error {
	r, recordErr := readRecord(dir)
	want, filesErr := readFiles(dir)
	if err := errors.Join(recordErr, filesErr); err != nil {
		return &damage{"its record", "cannot be read: " + err.Error()}
	}
	if identity(want) != r.Identity {
		return &damage{"its record", "is not what was written"}
	}
	found, doubtful, err := compare(ctx, dir, want, all)
	if err != nil {
		return unreadable(err)
	}
	err = each(ctx, len(doubtful), func(i int) error { return found[doubtful[i]].confirm(dir, want[doubtful[i]]) })
	if err != nil {
		return unreadable(err)
	}
	if len(doubtful) == 0 {
		return nil
	}
	return writeFiles(dir, found)
}

// unreadable takes what the file system can no longer give for damage.
func unreadable(err error) error {
	path := new(fs.PathError)
	for _, lost := range []error{unix.EIO, unix.EUCLEAN, unix.ENOENT, unix.ENODATA} {
		if errors.Is(err, lost) && errors.As(err, &path) {
			return &damage{path.Path, "cannot be read: " + path.Err.Error()}
		}
	}
	return err
}

// compare walks the layer beside its list of files. It returns what is there,
// and which of it has to be looked at more closely.
func compare(ctx context.Context, dir string, want []file, all bool) (found []file, doubtful []int, err error) {
	found = make([]file, 0, len(want))
	err = walk(ctx, dir, func(f file) error {
		i := len(found)
		if i == len(want) || f.path != want[i].path {
			return otherPath(dir, f.path, want[i:])
		}
		w := want[i]
		if what := f.differs(w); what != "" {
			return &damage{f.path, what}
		}
		if all || f.ctime != w.ctime || f.mtime != w.mtime {
			doubtful = append(doubtful, i)
		}
		f.link, f.xattrs, f.sum = w.link, w.xattrs, w.sum
		found = append(found, f)
		return nil
	})
	if err == nil && len(found) < len(want) {
		err = &damage{want[len(found)].path, "is missing"}
	}
	return found, doubtful, err
}

// otherPath tells a file that is missing from one too many.
func otherPath(dir, path string, want []file) error {
	if len(want) > 0 {
		if _, err := os.Lstat(filepath.Join(dir, want[0].path)); errors.Is(err, fs.ErrNotExist) {
			return &damage{want[0].path, "is missing"}
		}
	}
	return &damage{path, "was added"}
}

// differs compares what lstat tells, times left out.
func (f file) differs(want file) string {
	switch {
	case f.mode&unix.S_IFMT != want.mode&unix.S_IFMT:
		return "is of another type"
	case f.mode != want.mode:
		return fmt.Sprintf("has the mode %04o, not %04o", f.mode&0o7777, want.mode&0o7777)
	case f.uid != want.uid || f.gid != want.gid:
		return fmt.Sprintf("belongs to %d:%d, not %d:%d", f.uid, f.gid, want.uid, want.gid)
	case f.size != want.size:
		return fmt.Sprintf("has %d bytes, not %d", f.size, want.size)
	case f.device != want.device:
		return "is another device"
	}
	return ""
}

// confirm reads what lstat does not tell and compares it.
func (f file) confirm(dir string, want file) error {
	path := filepath.Join(dir, f.path)
	if err := f.attributes(path); err != nil {
		return err
	}
	if f.link != want.link {
		return &damage{f.path, fmt.Sprintf("points to %s, not %s", f.link, want.link)}
	}
	if f.xattrs != want.xattrs {
		return &damage{f.path, "has other extended attributes"}
	}
	if !f.regular() {
		return nil
	}
	sum, err := stage.FileDigest(path)
	if err == nil && sum != want.sum {
		err = &damage{f.path, "has other contents"}
	}
	return err
}
