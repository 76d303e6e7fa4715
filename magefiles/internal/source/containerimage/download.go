package containerimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/go-units"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/renameio/v2"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Options says which images to save, from where and where to.
type Options struct {
	ListFile string // images.txt
	// Services names the images of the list that are wanted; nil: all. Others
	// share the two files, and keep their lines in them.
	Services []string
	LockFile string // images.lock; "" resolves every tag each time
	Dir      string // where the archives, SHA256SUMS and images.env go
	CacheDir string // for blobs; may be shared by any number of builds
	Mirror   string // HOST:PORT to pull from instead; see MirrorPath
	MirrorID string // what the mirror holds, where its address says nothing
	Locked   bool   // refuse an image that the lock file does not pin
	Update   bool   // resolve the tags again, whatever the lock file says
	Reporter *progress.Reporter

	// Devices are those that the images have to run on, by Imager's tags; nil:
	// all that there are.
	Devices []string

	retryDelay time.Duration
	sleep      func(context.Context, time.Duration) error
}

// Image is an image that was saved.
type Image struct {
	Locked
	Archive string // path of its archive
	SHA256  string // of the archive
	Size    int64
	Kept    bool // the archive was there already
}

// Result is what Download did.
type Result struct {
	Images []Image
	// Lock holds the lines that images.lock should have, in the order of
	// images.txt: to be written with WriteLock and committed if LockChanged.
	Lock        []Locked
	LockChanged bool
}

// The files beside the archives.
const (
	SumsFile = "SHA256SUMS"
	EnvFile  = "images.env"
)

type store struct {
	source   *source
	blobs    blobs
	records  records
	reporter *progress.Reporter
	arm      armVersion // of the devices
}

// Download saves the linux/arm64 image of every reference in the list as
// NAME.tar for `docker load`, which gives it the tag it has in the list, and
// writes SHA256SUMS and images.env beside them. An archive that is there and
// whole is kept; what has been fetched before stays in the cache. SHA256SUMS
// exists only while all archives are whole.
func Download(ctx context.Context, o Options) (Result, error) {
	r, err := o.read()
	if err != nil {
		return Result{}, err
	}
	pinned, err := r.pins(o)
	if err != nil {
		return Result{}, err
	}
	if o.retryDelay == 0 {
		o.retryDelay = firstDelay
	}
	s := &store{
		source:   newSource(o.retryDelay, o.Reporter.Printf),
		blobs:    blobs{filepath.Join(o.CacheDir, "blobs")},
		records:  records{filepath.Join(o.CacheDir, "archives")},
		reporter: o.Reporter,
		arm:      versionOf(o.Devices),
	}
	if o.sleep != nil {
		s.source.sleep = o.sleep
	}
	defer s.source.close()
	if err := s.blobs.sweep(); err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return Result{}, fmt.Errorf("creating the directory for archives: %w", err)
	}

	resolved, err := s.resolveAll(ctx, o, r.entries, pinned)
	if err != nil {
		return Result{}, err
	}
	result := Result{Lock: r.lock(resolved)}
	result.LockChanged = o.LockFile != "" && !slices.EqualFunc(result.Lock, r.locked, func(a, b Locked) bool { return a.String() == b.String() })
	for _, l := range resolved {
		img, err := s.save(ctx, o, l)
		if err != nil {
			return Result{}, err
		}
		result.Images = append(result.Images, img)
	}
	return result, finish(o.Dir, result.Images)
}

// resolveAll finds the digest of every image before anything slow is done.
func (s *store) resolveAll(ctx context.Context, o Options, entries []Entry, pinned []string) ([]Locked, error) {
	var resolved []Locked
	var problems []error
	for i, e := range entries {
		digest := pinned[i]
		if digest == "" {
			from, err := o.pullFrom(e)
			if err != nil {
				return nil, err
			}
			h, err := s.resolve(ctx, from)
			if ctx.Err() != nil {
				return nil, fmt.Errorf("resolving %s: %w", e.Reference, context.Cause(ctx))
			}
			if err != nil {
				problems = append(problems, s.explain(o.ListFile, e, from, err))
				continue
			}
			digest = h.String()
			s.reporter.Printf("resolved %s to %s", e.Reference, digest)
		}
		resolved = append(resolved, Locked{Entry: e, Digest: digest})
	}
	return resolved, errors.Join(problems...)
}

// save makes the archive of one image, unless it is there.
func (s *store) save(ctx context.Context, o Options, l Locked) (Image, error) {
	saved := Image{Locked: l, Archive: filepath.Join(o.Dir, l.Name+".tar")}
	digest, err := v1.NewHash(l.Digest)
	if err != nil {
		return saved, fmt.Errorf("%s: %w", l.Name, err)
	}
	if saved.SHA256, saved.Size, err = s.records.current(saved.Archive, l.Entry, digest); err != nil {
		return saved, err
	}
	if saved.SHA256 != "" {
		saved.Kept = true
		return saved, nil
	}
	from, err := o.pullFrom(l.Entry)
	if err != nil {
		return saved, err
	}
	img, err := s.open(ctx, from.Repository, digest)
	if err != nil {
		return saved, s.explain(o.ListFile, l.Entry, from, err)
	}
	started := time.Now()
	if err := s.fetchLayers(ctx, from.Repository, img, "pulling "+l.Name); err != nil {
		return saved, s.explain(o.ListFile, l.Entry, from, err)
	}
	if err := img.checkLayers(ctx); err != nil {
		return saved, s.explain(o.ListFile, l.Entry, from, err)
	}
	if err := remove(filepath.Join(o.Dir, SumsFile)); err != nil {
		return saved, err
	}
	if saved.SHA256, saved.Size, err = writeArchive(ctx, saved.Archive, l.Entry, img); err != nil {
		return saved, fmt.Errorf("saving %s: %w", l.Name, err)
	}
	if err := s.records.put(l.Entry, digest, saved.SHA256); err != nil {
		return saved, err
	}
	s.reporter.Printf("saved %s as %s, %s, in %s", l.Reference, saved.Archive, units.HumanSize(float64(saved.Size)), time.Since(started).Round(100*time.Millisecond))
	return saved, nil
}

// finish removes archives that nothing lists any more and writes the files
// that describe the others.
func finish(dir string, images []Image) error {
	keep := []string{SumsFile, EnvFile}
	var sums strings.Builder
	var entries []Entry
	for _, img := range images {
		keep = append(keep, filepath.Base(img.Archive))
		entries = append(entries, img.Entry)
		fmt.Fprintf(&sums, "%s  %s\n", img.SHA256, filepath.Base(img.Archive))
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("listing archives: %w", err)
	}
	for _, f := range there {
		if (strings.HasSuffix(f.Name(), ".tar") || isUnfinished(f.Name())) && !slices.Contains(keep, f.Name()) {
			if err := remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	for _, f := range []struct{ name, content string }{{EnvFile, Env(entries)}, {SumsFile, sums.String()}} {
		path := filepath.Join(dir, f.name)
		if old, err := os.ReadFile(path); err == nil && string(old) == f.content {
			continue // keeps its time, for whoever goes by it
		}
		if err := renameio.WriteFile(path, []byte(f.content), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return nil
}

// isUnfinished reports whether a file is what renameio leaves when it is killed.
func isUnfinished(name string) bool {
	return strings.HasPrefix(name, ".") && slices.ContainsFunc([]string{".tar", SumsFile, EnvFile}, func(part string) bool {
		return strings.Contains(name, part)
	})
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return nil
}
