package recipe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// PublishModes lets everybody read what is copied into the image, and execute
// what its owner may, as git has it. Copying keeps the permissions that it finds,
// and those of a checkout follow the umask of who made it: under 077 the image's
// files would be private. Packer copies from the checkout itself, so they are
// corrected there. It passes over what is yet to be made.
func (r *Recipe) PublishModes() error {
	var problems []error
	for _, p := range r.Provisioners {
		for _, source := range p.Sources {
			if err := publishModes(source); err != nil && !errors.Is(err, fs.ErrNotExist) {
				problems = append(problems, fmt.Errorf("%s is copied into an image that everybody reads: %w; `chmod -R go+rX` does it by hand", relTo(r.root, source), err))
			}
		}
	}
	return errors.Join(problems...)
}

func publishModes(source string) error {
	root, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := info.Mode()
		public := mode | 0o444
		if mode&0o100 != 0 {
			public |= 0o111
		}
		if public == mode {
			return nil
		}
		return os.Chmod(path, public)
	})
}
