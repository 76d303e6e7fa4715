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
// tree: relative paths, types, whether a file is executable, link targets and
// contents. Other permission bits and times are left out, since a checkout
// does not keep them.
func TreeDigest(root string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			fmt.Fprintf(h, "dir %q\n", rel)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "link %q %q\n", rel, target)
		case 0:
			info, err := d.Info()
			if err != nil {
				return err
			}
			sum, err := FileDigest(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "file %q %t %s\n", rel, info.Mode()&0o111 != 0, sum)
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
