package layer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// A finished layer has two files beside its tree: what it is, written once,
// and the list of its files, by which it is checked before each use.
const (
	recordFile = "layer.json"
	filesFile  = "files"
	titleFile  = "title" // in its notes
)

// record says what a finished layer is. The time of its file is that of the
// layer's last use.
type record struct {
	Key      string
	Title    string    // for people
	Identity string    // digest of all its files, without their times
	Made     time.Time // orders layers: those below were made before
	Files    int
	Apparent int64 // bytes in its files
	Occupied int64 // bytes on the disk
}

// file is one line of the list of files.
type file struct {
	path          string // below the layer's directory
	mode          uint32 // with the type
	uid, gid      uint32
	size          int64 // of a regular file
	device        uint64
	mtime, ctime  int64
	link, xattrs  string
	sum           string // sha256 of a regular file's contents
	inode, blocks uint64 // not in the list
}

func (f file) regular() bool { return f.mode&unix.S_IFMT == unix.S_IFREG }

// append writes f as a line; without its times it says all that the layer's
// identity depends on.
func (f file) append(b []byte, times bool) []byte {
	b = strconv.AppendUint(b, uint64(f.mode), 8)
	for _, n := range []int64{int64(f.uid), int64(f.gid), f.size, int64(f.device)} {
		b = strconv.AppendInt(append(b, ' '), n, 10)
	}
	if times {
		b = strconv.AppendInt(append(b, ' '), f.mtime, 10)
		b = strconv.AppendInt(append(b, ' '), f.ctime, 10)
	}
	b = append(append(b, ' '), cmp.Or(f.sum, "-")...)
	for _, s := range []string{f.path, f.link, f.xattrs} {
		b = strconv.AppendQuote(append(b, ' '), s)
	}
	return append(b, '\n')
}

func parseFile(line string) (f file, err error) {
	var numbers [7]int64
	for i := range numbers {
		word, rest, _ := strings.Cut(line, " ")
		base := 10
		if i == 0 {
			base = 8
		}
		if numbers[i], err = strconv.ParseInt(word, base, 64); err != nil {
			return f, err
		}
		line = rest
	}
	f = file{
		mode: uint32(numbers[0]), uid: uint32(numbers[1]), gid: uint32(numbers[2]),
		size: numbers[3], device: uint64(numbers[4]), mtime: numbers[5], ctime: numbers[6],
	}
	if f.sum, line, _ = strings.Cut(line, " "); f.sum == "-" {
		f.sum = ""
	}
	for _, to := range []*string{&f.path, &f.link, &f.xattrs} {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return f, err
		}
		if *to, err = strconv.Unquote(quoted); err != nil {
			return f, err
		}
		line = strings.TrimPrefix(line[len(quoted):], " ")
	}
	return f, nil
}

func identity(files []file) string {
	h := sha256.New()
	var line []byte
	for _, f := range files {
		line = f.append(line[:0], false)
		h.Write(line)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// walk lists what is in the layer at dir, in the order of the names, with all
// that lstat tells.
func walk(ctx context.Context, dir string, visit func(file) error) error {
	for _, part := range []string{"notes", "tree"} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			f, err := lstat(path)
			if err != nil {
				return err
			}
			f.path = path[len(dir)+1:]
			return visit(f)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func lstat(path string) (file, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return file{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	f := file{
		mode: st.Mode, uid: st.Uid, gid: st.Gid, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano(),
		inode: st.Ino, blocks: uint64(st.Blocks),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.size = st.Size
	case unix.S_IFCHR, unix.S_IFBLK:
		f.device = st.Rdev
	}
	return f, nil
}

// attributes reads what lstat does not tell, contents left out.
func (f *file) attributes(path string) (err error) {
	if f.mode&unix.S_IFMT == unix.S_IFLNK {
		if f.link, err = os.Readlink(path); err != nil {
			return err
		}
	}
	f.xattrs, err = xattrs(path)
	return err
}

// bookkeeping are what overlayfs notes on its upper directory for the time of a
// mount: handles of files below and hints about them, which say nothing of what
// is in a layer (Documentation/filesystems/overlayfs.rst of the kernel).
func bookkeeping() []string {
	return []string{"trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.uuid"}
}

func xattrs(path string) (string, error) {
	n, err := unix.Llistxattr(path, nil)
	if err == unix.ENOTSUP || err == nil && n == 0 {
		return "", nil
	}
	const limit = 64 << 10 // the kernel's, for the names and for a value
	names, value := make([]byte, limit), make([]byte, limit)
	if err == nil {
		n, err = unix.Llistxattr(path, names)
	}
	if err != nil {
		return "", &fs.PathError{Op: "listxattr", Path: path, Err: err}
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if slices.Contains(bookkeeping(), name) {
			continue
		}
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", &fs.PathError{Op: "getxattr " + name, Path: path, Err: err}
		}
		all[name] = hex.EncodeToString(value[:n])
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%s\n", name, all[name])
	}
	return b.String(), nil
}

// hashers is how many files are read at once: enough to keep the disk and the
// processors of a small machine busy.
const hashers = 4

// each runs do for every number below n, several at once.
func each(ctx context.Context, n int, do func(i int) error) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(hashers)
	for i := range n {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return do(i) })
	}
	return cmp.Or(group.Wait(), context.Cause(ctx))
}

// takeRecord describes the layer at dir and writes both files.
func takeRecord(ctx context.Context, dir, key string) error {
	var files []file
	r := record{Key: key, Title: title(dir, key), Made: time.Now()}
	linked := map[uint64]bool{}
	err := walk(ctx, dir, func(f file) error {
		files = append(files, f)
		r.Apparent += f.size
		if !linked[f.inode] {
			r.Occupied += int64(f.blocks) * 512
			linked[f.inode] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = each(ctx, len(files), func(i int) (err error) {
		f := &files[i]
		path := filepath.Join(dir, f.path)
		if f.regular() {
			if f.sum, err = stage.FileDigest(path); err != nil {
				return err
			}
		}
		return f.attributes(path)
	})
	if err != nil {
		return err
	}
	r.Files, r.Identity = len(files), identity(files)
	if err := writeFiles(dir, files); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, recordFile), append(raw, '\n'), 0o644)
}

func title(dir, key string) string {
	raw, err := os.ReadFile(filepath.Join(dir, "notes", titleFile))
	if err != nil || len(raw) == 0 {
		return fmt.Sprintf("layer %.12s", key)
	}
	return string(raw)
}

func writeFiles(dir string, files []file) error {
	var b []byte
	for _, f := range files {
		b = f.append(b, true)
	}
	return renameio.WriteFile(filepath.Join(dir, filesFile), b, 0o644)
}

func readFiles(dir string) ([]file, error) {
	raw, err := os.ReadFile(filepath.Join(dir, filesFile))
	if err != nil {
		return nil, err
	}
	files := make([]file, 0, bytes.Count(raw, []byte("\n")))
	for line := range strings.Lines(string(raw)) {
		f, err := parseFile(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func readRecord(dir string) (r record, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(raw, &r)
}
