// Package pipeline is the build from recipe to published image: its stages,
// what each takes and makes, and what has to hold before any of them starts.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/scenario"
	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/build/packer"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/native"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Options are what a person can choose. Empty fields have defaults.
type Options struct {
	Root    string // of the repository
	Profile string // a var-file packer/PROFILE.pkrvars.hcl
	Version string // of the release; by default what git describes
	Cache   string // directory of what serves every checkout
	Level   int    // of xz, 0 to 9
	Mirror  string // HOST:PORT of a registry to pull container images from
	Update  bool   // resolve the container images' tags anew
	Locked  bool   // refuse container images without a pinned digest
	Emulate bool   // run every program of the chroot emulated
	Refresh string // run the provisioners from this one on again, see engine.CheckRefresh
	Limit   int64  // bytes that the rootfs layers in the cache may occupy after a build
	Engine  string // EmbeddedEngine or PackerEngine
	// Scenario names what the image is put through, see scenarios.Named; "" is the
	// boot proof alone.
	Scenario string
	Jobs     int // machines at once, 0: as many as fit
	Log      *progress.Reporter
}

// Build is one build: its recipe and everything derived from the options. It
// holds the lock on build/ until Close.
type Build struct {
	Options
	Recipe *recipe.Recipe
	Commit string    // of the checkout, in full
	Dirty  bool      // the checkout differs from the commit
	Epoch  time.Time // of the commit: SOURCE_DATE_EPOCH

	dir       string         // build/
	logs      string         // build/log
	downloads string         // Cache, for what is not made but fetched
	names     artifact.Names // paths in dir
	values    values
	stages    stage.Runner
	store     *layer.Store
	archives  *debian.Archives
	native    *native.Provider
	unlock    []func() error

	refreshedBase, refreshedImage bool // what Refresh asks for is under way or done
}

// values are the variables of the recipe that this program itself reads.
type values struct {
	kind, baseURL, baseSHA256, baseFormat string
	suite, mirror                         string
	containerImages                       string // directory, relative to the root
	standIns                              bool   // the container images are the lab's own
	initFormat                            string
	headroom                              int64 // bytes
	publishable                           bool
	releaseURL                            string // {version} in it stands for the version
	imagerName, imagerDescription         string
	imagerIcon, imagerWebsite             string
}

// Open loads and checks everything that can be known before any slow work and
// reports all problems at once: options, recipe, files it names, the machine.
func Open(ctx context.Context, o Options, groups ...host.Group) (*Build, error) {
	o.Engine = cmp.Or(o.Engine, EmbeddedEngine)
	if err := checkEngine(o.Engine); err != nil {
		return nil, err
	}
	o.Scenario = cmp.Or(o.Scenario, scenario.Operational().Name)
	if _, err := scenario.Named(o.Scenario); err != nil {
		return nil, err
	}
	b := &Build{Options: o, dir: filepath.Join(o.Root, "build"), downloads: o.Cache}
	b.logs = filepath.Join(b.dir, "log")
	b.stages = stage.Runner{Dir: filepath.Join(b.dir, "stages", o.Profile), Log: o.Log}
	if err := b.describe(ctx); err != nil {
		return nil, err
	}
	if err := b.load(); err != nil {
		return nil, err
	}
	if b.values.kind == "bootstrap" {
		groups = append(groups, host.Lab)
	}
	// Whether the cache can be used shows at once; that it stays is sure only
	// once it is locked.
	if _, err := layer.Open(filepath.Join(o.Cache, LayersDir), o.Log); err != nil {
		return nil, err
	}
	if err := b.prepareMachine(ctx, groups); err != nil {
		return nil, err
	}
	if b.Engine == PackerEngine {
		if err := packer.Check(ctx); err != nil {
			return nil, err
		}
	}
	if err := b.lock(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if err := errors.Join(b.store.Probe(ctx), b.store.Sweep(), b.sweep(), b.sweepScratch()); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// lock takes build/ for this build alone, and the cache for all that build. The
// order is the same everywhere, so that nobody waits in a circle.
func (b *Build) lock(ctx context.Context) error {
	unlock, err := stage.Lock(ctx, LockFile(b.Root), b.Log)
	if err != nil {
		return err
	}
	b.unlock = append(b.unlock, unlock)
	unlock, err = stage.LockShared(ctx, cacheLock(b.Cache), b.Log)
	if err != nil {
		return err
	}
	b.unlock = append(b.unlock, unlock)
	if b.store, err = layer.Open(filepath.Join(b.Cache, LayersDir), b.Log); err != nil {
		return err
	}
	if b.Refresh == embedded.RefreshBase {
		// The native programs too: they have to be of the base image's versions.
		b.store = b.store.Rebuilding()
	}
	if b.archives, err = debian.OpenArchives(filepath.Join(b.downloads, PackagesDir)); err != nil {
		return err
	}
	b.native = &native.Provider{
		Suite: b.values.suite, Mirror: b.values.mirror, Store: b.store, Archives: b.archives, Disabled: b.Emulate, Log: b.Log,
	}
	return nil
}

// LockFile is what a build holds a lock on for as long as it uses build/.
func LockFile(root string) string { return filepath.Join(root, "build", "lock") }

// Close gives back what others wait for: build/, which goes to the owner of the
// checkout, who may have become root only for this, and the cache, which is
// brought down to its limit.
func (b *Build) Close() error {
	if len(b.unlock) == 0 {
		return nil
	}
	problems := []error{GiveBack(b.Root)}
	if b.store != nil {
		problems = append(problems, b.store.Close(), b.store.Sweep())
		if b.Limit > 0 {
			problems = append(problems, b.store.Prune(b.Limit))
		}
	}
	for _, unlock := range b.unlock {
		problems = append(problems, unlock())
	}
	return errors.Join(problems...)
}

// GiveBack makes the owner of the checkout at root the owner of all that was
// made in it.
func GiveBack(root string) error {
	info, err := os.Stat(root)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	if int(owner.Uid) == os.Geteuid() {
		return nil
	}
	var problems []error
	for _, made := range []string{"build", "docker-images", "rpi-imager.json", filepath.Join("skopeo", "images.lock"), filepath.Join("packer", "builder.lock")} {
		err := filepath.WalkDir(filepath.Join(root, made), func(path string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			return os.Lchown(path, int(owner.Uid), int(owner.Gid))
		})
		if err != nil {
			problems = append(problems, fmt.Errorf("giving %s to the owner of the checkout: %w", made, err))
		}
	}
	return errors.Join(problems...)
}

// describe asks git what is being built.
func (b *Build) describe(ctx context.Context) (err error) {
	if b.Version == "" {
		if b.Version, err = artifact.VersionFromGit(ctx, b.Root); err != nil {
			return err
		}
	}
	names, err := artifact.NamesFor(b.Profile, b.Version)
	if err != nil {
		return err
	}
	b.names = names.In(b.dir)
	git := func(args ...string) string {
		out, gitErr := process.Output(ctx, append([]string{"git", "-C", b.Root}, args...)...)
		err = errors.Join(err, gitErr)
		return out
	}
	b.Commit = git("rev-parse", "HEAD")
	b.Dirty = git("status", "--porcelain", "--untracked-files=no") != ""
	seconds := git("log", "-1", "--format=%ct")
	if err != nil {
		return fmt.Errorf("asking git what %s is: %w", b.Root, err)
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	b.Epoch = time.Unix(n, 0).UTC()
	return err
}

func (b *Build) load() error {
	r, err := recipe.LoadProfile(b.Root, b.Profile, map[string]string{"version": b.Version})
	if err != nil {
		return err
	}
	b.Recipe = r
	v := r.Variables()
	b.values = values{
		kind:            v.String("base_image_kind"),
		baseURL:         v.String("base_image_url"),
		baseSHA256:      v.String("base_image_sha256"),
		baseFormat:      v.String("base_image_format"),
		suite:           v.String("debian_suite"),
		mirror:          v.String("debian_mirror"),
		containerImages: v.String("container_images"),
		headroom:        v.Int("image_headroom") << 20,
		publishable:     v.Bool("publishable"),
		standIns:        v.String("container_source") == "stand-ins",
		initFormat:      v.String("imager_init_format"),
		releaseURL:      v.String("release_url_base"),

		imagerName:        v.String("imager_name"),
		imagerDescription: v.String("imager_description"),
		imagerIcon:        v.String("imager_icon"),
		imagerWebsite:     v.String("imager_website"),
	}
	return errors.Join(v.Err(), r.CheckFiles(b.values.containerImages), checkPaths(r, b.names), embedded.CheckRefresh(r, b.Refresh), b.checkBuilder())
}

// What a build writes, measured for both profiles and rounded up generously:
// the raw image, its archive and the copy that boots in build/; base image,
// layers and blobs in the cache.
const (
	buildNeeds = 6 << 30
	cacheNeeds = 6 << 30
)

func (b *Build) prepareMachine(ctx context.Context, groups []host.Group) error {
	ctx, span := timing.Start(ctx, "looking at the machine")
	defer span.End()
	for _, dir := range []string{b.stages.Dir, b.Cache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("preparing %s: %w", dir, err)
		}
	}
	err := host.EnsureInstalled(ctx, host.Needs{
		Groups: groups,
		Kernel: true,
		Root:   true,
		Disk:   DiskNeeds(b.Root, b.Cache),
	}, b.Log)
	if err != nil {
		return err
	}
	return host.SetUpARM64(ctx, b.Log)
}

// DiskNeeds says how many bytes a build wants free, by directory. It is less
// where an earlier build has left what the next one would make.
func DiskNeeds(root, cache string) map[string]int64 {
	build := filepath.Join(root, "build")
	needs := map[string]int64{build: buildNeeds, cache: cacheNeeds}
	if images, err := filepath.Glob(filepath.Join(build, "*.img")); err == nil && len(images) > 0 {
		needs[build] /= 2
	}
	if entries, err := os.ReadDir(filepath.Join(cache, LayersDir, "keys")); err == nil && len(entries) > 0 {
		needs[cache] /= 4
	}
	return needs
}

// sweep removes half-made files of a build that was killed.
func (b *Build) sweep() error {
	for _, pattern := range []string{"*.partial", "*.view"} {
		stale, err := filepath.Glob(filepath.Join(b.dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range stale {
			b.Log.Printf("removing %s of a build that was killed", filepath.Base(path))
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropSuperseded removes what earlier development builds of the profile left
// in build/: every commit gives them another name, and a build of an old
// commit is made again from its layers in seconds.
func (b *Build) dropSuperseded() error {
	const commitMark = "+g"
	base, _, ok := strings.Cut(b.names.Base, b.Version)
	if !ok {
		return nil
	}
	old, err := filepath.Glob(base + "[0-9]*-dev*" + commitMark + "*-arm64.*")
	if err != nil {
		return err
	}
	for _, path := range old {
		if !strings.HasPrefix(path, b.names.Base+".") {
			b.Log.Printf("removing %s of an earlier commit", filepath.Base(path))
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// again is the command that does the same once more.
func (b *Build) again(target string) string {
	argv := []string{"go tool mage", target, "-profile=" + b.Profile, "-version=" + b.Version}
	if b.Engine != EmbeddedEngine {
		argv = append(argv, "-engine="+b.Engine)
	}
	return strings.Join(argv, " ")
}
