package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// TreeDigest returns the lower-case hex sha256 over a file or a directory
// tree: relative paths, types, permissions, link targets and contents. What
// does not get into an image is left out: times, owners, and permission to write
// for others than the owner, which a checkout gives by the umask of who made it.
// Of a root that is a link, what is behind it counts, since that is copied.
func TreeDigest(root string) (string, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() &^ 0o022
		switch d.Type() {
		case fs.ModeDir:
			fmt.Fprintf(h, "dir %q %o\n", rel, mode)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "link %q %q\n", rel, target)
		case 0:
			sum, err := FileDigest(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "file %q %o %s\n", rel, mode, sum)
		default:
			return fmt.Errorf("%s is a %s; only files, directories and links can be copied into an image", path, d.Type())
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
