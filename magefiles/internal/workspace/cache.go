package workspace

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// DefaultLimit is what the rootfs layers of a few recipes on both profiles
// need, a dozen times over.
const DefaultLimit = 20 << 30

// Cache is the directory of what builds keep for the next ones, of whatever
// checkout.
type Cache string

// Layers is where the rootfs layers are.
func (c Cache) Layers() string { return filepath.Join(string(c), "layers") }

// BaseImages is where the base images are.
func (c Cache) BaseImages() string { return filepath.Join(string(c), "base") }

// Blobs is where the parts of container images are.
func (c Cache) Blobs() string { return filepath.Join(string(c), "blobs") }

// Packages is where the archives of Debian packages are.
func (c Cache) Packages() string { return filepath.Join(string(c), "packages") }

// NPM is where the archives of npm's packages are.
func (c Cache) NPM() string { return filepath.Join(string(c), "npm") }

// lockFile is what every build holds together for as long as it uses the cache,
// and what empties the cache holds alone.
func (c Cache) lockFile() string { return filepath.Join(string(c), "lock") }

func (c Cache) share(ctx context.Context, log *progress.Reporter) (unlock func() error, err error) {
	return lock.Acquire(ctx, c.lockFile(), lock.Shared, log)
}

// VerifyLayers reads every rootfs layer and drops those that are not what was
// once made.
func (c Cache) VerifyLayers(ctx context.Context, log *progress.Reporter) (err error) {
	unlock, err := c.share(ctx, log)
	if err != nil {
		return err
	}
	defer unlock()
	store, err := layer.Open(c.Layers(), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	files, dropped, err := store.Verify(ctx)
	if err != nil {
		return err
	}
	if len(dropped) > 0 {
		return fmt.Errorf("%d layers were changed or damaged since they were made, and dropped; the next build makes them again:\n%s", len(dropped), strings.Join(dropped, "\n"))
	}
	log.Printf("all %d files of the cached layers are what was made", files)
	return nil
}
