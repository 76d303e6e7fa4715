package debian

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// ArchivesDir is where apt keeps archives, inside a root file system.
const ArchivesDir = "var/cache/apt/archives"

const listsDir = "var/lib/apt/lists"

// Archives is a directory of package archives that are kept from one build to
// the next, so that none is fetched twice. Each is called DIGEST_FILENAME.
// Several builds can use one at the same time.
//
// apt takes an archive that it finds in its directory by the name and size
// alone. So only those are kept that the repository's lists name by their
// digest, which apt has verified, and each is hashed again before it is used.
type Archives struct {
	dir string
	mu  sync.Mutex
	ok  map[string]bool // those whose contents were found to match their names
}

// OpenArchives prepares the directory.
func OpenArchives(dir string) (*Archives, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("preparing the cache of package archives: %w", err)
	}
	return &Archives{dir: dir, ok: map[string]bool{}}, nil
}

// Files returns the archives, to be injected where apt looks for them.
func (a *Archives) Files() ([]chroot.InjectedFile, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the cache of package archives: %w", err)
	}
	var files []chroot.InjectedFile
	for _, e := range entries {
		sum, name, ok := strings.Cut(e.Name(), "_")
		if !ok || !strings.HasSuffix(name, ".deb") {
			continue
		}
		path := filepath.Join(a.dir, e.Name())
		if !a.ok[e.Name()] {
			got, err := stage.FileDigest(path)
			if err != nil {
				return nil, err
			}
			if got != sum { // it is fetched again
				if err := os.Remove(path); err != nil {
					return nil, fmt.Errorf("removing a damaged package archive: %w", err)
				}
				continue
			}
			a.ok[e.Name()] = true
		}
		files = append(files, chroot.InjectedFile{Path: filepath.Join(ArchivesDir, name), From: path})
	}
	return files, nil
}

// Collect keeps the archives of a root file system whose layers (topmost first,
// the one in which to look for archives first of all) have the lists that name
// them. The cache has to be on the same file system.
func (a *Archives) Collect(layers ...string) error {
	archives, err := filepath.Glob(filepath.Join(layers[0], ArchivesDir, "*.deb"))
	if err != nil || len(archives) == 0 {
		return err
	}
	known, err := listed(layers)
	if err != nil {
		return err
	}
	for _, path := range archives {
		if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
			continue // overlayfs's mark of a deleted file
		}
		sum, err := stage.FileDigest(path)
		if err != nil {
			return err
		}
		if !known[sum] {
			continue
		}
		err = os.Link(path, filepath.Join(a.dir, sum+"_"+filepath.Base(path)))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("keeping %s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// ClearArchives removes the archives of the topmost layer: like those that were
// injected, they belong to the build and not to the device.
func ClearArchives(layer string) error {
	archives, err := filepath.Glob(filepath.Join(layer, ArchivesDir, "*.deb"))
	for _, path := range archives {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// listed returns the digests of the packages that the lists of the layers name.
func listed(layers []string) (map[string]bool, error) {
	known := map[string]bool{}
	for _, layer := range layers {
		lists, err := filepath.Glob(filepath.Join(layer, listsDir, "*_Packages"))
		if err != nil {
			return nil, err
		}
		for _, list := range lists {
			info, err := os.Lstat(list)
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			raw, err := os.ReadFile(list)
			if err != nil {
				return nil, err
			}
			for line := range bytes.Lines(raw) {
				if sum, ok := bytes.CutPrefix(line, []byte("SHA256: ")); ok {
					known[string(bytes.TrimSpace(sum))] = true
				}
			}
		}
	}
	return known, nil
}
