package layer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// prepareDir makes the directory of a store. A path that overlayfs cannot be
// given and a place where nothing can be written are refused.
func prepareDir(dir string) error {
	if strings.ContainsAny(dir, ":,\\") {
		return fmt.Errorf("the cache directory %s has one of : , \\ in its name, which overlayfs cannot take; choose another with -cache", dir)
	}
	err := os.MkdirAll(filepath.Join(dir, "keys"), 0o755)
	if err == nil {
		err = unix.Access(dir, unix.W_OK)
	}
	if err != nil {
		return unusable(dir, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return unusable(dir, err)
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("the cache directory %s is on an overlay file system (inside a container?), on which overlayfs cannot stack; put it on a volume with -cache", dir)
	}
	return nil
}

func unusable(dir string, err error) error {
	reason := err.Error()
	switch {
	case errors.Is(err, unix.EROFS):
		reason = "its file system is read-only"
	case errors.Is(err, unix.ENOTDIR):
		reason = "part of this path is a file, not a directory"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		reason = "this user may not write to it"
	case full(err):
		return fullError(dir, err)
	}
	return &dirError{dir, reason, err}
}

// dirError is a cache directory in which no layers can be kept.
type dirError struct {
	dir, reason string
	err         error
}

func (e *dirError) Error() string {
	return fmt.Sprintf("the cache directory %s cannot be used: %s; choose another with -cache=DIR", e.dir, e.reason)
}

func (e *dirError) Unwrap() error { return e.err }

// probeScript does in small what a layer asks of its file system: a device node
// for a deleted file, an overlay mount with an upper directory, and a renamed
// directory, for which overlayfs needs extended attributes of its own.
const probeScript = `cd "$1"
mkdir lower lower/d upper work root
head -c 4096 /dev/zero >lower/gone
ln lower/gone lower/link
mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work,redirect_dir=off,metacopy=off,index=off,xino=off,volatile" overlay root
rm root/gone
rm -r root/d
mkdir root/d
[ -c upper/gone ]`

// Probe tries out whether layers can be made in the store's directory.
func (s *Store) Probe(ctx context.Context) (err error) {
	dir, release, err := s.newDir()
	if err != nil {
		return unusable(s.Dir, err)
	}
	defer func() { err = errors.Join(err, removeTree(dir), release()) }()
	if err := unix.Lsetxattr(dir, "trusted.cubeos", []byte("1"), 0); err != nil {
		if full(err) {
			return fullError(s.Dir, err)
		}
		return &dirError{s.Dir, fmt.Sprintf("its file system (%s) keeps no extended attributes for root: %v", kind(dir), err), err}
	}
	err = process.Run(ctx, "unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", probeScript, "probe", dir)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case full(err):
		return fullError(s.Dir, err)
	}
	return &dirError{s.Dir, fmt.Sprintf("its file system (%s) cannot take the changes of an overlay mount: %v", kind(dir), err), err}
}

// kind names the file system of dir as statfs(2) does.
func kind(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown"
	}
	names := map[int64]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.MSDOS_SUPER_MAGIC: "FAT", unix.FUSE_SUPER_MAGIC: "FUSE",
		unix.SMB2_SUPER_MAGIC: "SMB", unix.V9FS_MAGIC: "9p", unix.EXT4_SUPER_MAGIC: "ext4",
		unix.TMPFS_MAGIC: "tmpfs", unix.XFS_SUPER_MAGIC: "XFS", unix.BTRFS_SUPER_MAGIC: "Btrfs",
	}
	return cmp.Or(names[int64(st.Type)], fmt.Sprintf("type %#x", st.Type))
}

// noRoom is how programs say that they found no room. apt looks before it
// writes.
var noRoom = regexp.MustCompile(`No space left on device|Disk quota exceeded|enough free space`)

// full reports whether err comes from a file system without room.
func full(err error) bool {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return true
	}
	failed := new(process.Error)
	return errors.As(err, &failed) && noRoom.MatchString(failed.Output)
}

// plenty is so much that whatever was full, it was not this file system.
const plenty = 2 << 30

// ExplainFull adds what to do if err comes from a full cache, of which dir is
// the directory.
func ExplainFull(dir string, err error) error {
	var st unix.Statfs_t
	if explained := new(fullCache); errors.As(err, &explained) || !full(err) || unix.Statfs(dir, &st) != nil {
		return err
	}
	if int64(st.Bavail)*st.Bsize > plenty && st.Ffree > 0 {
		return err
	}
	return fullError(dir, err)
}

func fullError(dir string, err error) error {
	left := "nothing"
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		left = fmt.Sprintf("%s and %d files", units.BytesSize(float64(int64(st.Bavail)*st.Bsize)), st.Ffree)
	}
	return &fullCache{dir, left, err}
}

// fullCache is an error that came of a full cache.
type fullCache struct {
	dir, left string
	err       error
}

func (e *fullCache) Error() string {
	return fmt.Sprintf("%v\nthe file system of the cache directory %s is full, it has room for %s: free some with `go tool mage clean -layers`, or choose another with -cache=DIR", e.err, e.dir, e.left)
}

func (e *fullCache) Unwrap() error { return e.err }
