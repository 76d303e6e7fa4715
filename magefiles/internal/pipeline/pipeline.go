// Package pipeline is the build from recipe to published image: its stages,
// what each takes and makes, and what has to hold before any of them starts.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/build/packer"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/native"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// Options are what a person can choose. Empty fields have defaults.
type Options struct {
	workspace.Workspace
	Profile string // a var-file packer/PROFILE.pkrvars.hcl
	Version string // of the release; by default what git describes
	Level   int    // of xz, 0 to 9
	Mirror  string // HOST:PORT of a registry to pull container images from
	Update  bool   // resolve the container images' tags again
	Locked  bool   // refuse container images without a pinned digest
	Emulate bool   // run every program of the chroot emulated
	Refresh string // run the provisioners from this one on again, see embedded.CheckRefresh
	Limit   int64  // bytes that the rootfs layers in the cache may occupy after a build
	Engine  string // EmbeddedEngine or PackerEngine
}

// Build is one build: its recipe and everything derived from the options. It
// holds the lock on build/ until Close.
type Build struct {
	Options
	Recipe   *recipe.Recipe
	Revision workspace.Revision // its time is SOURCE_DATE_EPOCH
	Dir      string             // where the build puts what it makes
	Names    artifact.Names     // paths in Dir
	Services services.List      // of the profile

	logs      string
	downloads workspace.Cache // for what is not made but fetched
	values    values
	stages    stage.Runner
	store     *layer.Store
	archives  *debian.Archives
	native    *native.Provider
	close     func() error

	refreshedBase, refreshedImage bool // what Refresh asks for is under way or done
}

// values are the variables of the recipe that this program itself reads.
type values struct {
	names           artifact.Names // without a directory
	kind, like      string         // of base image
	suite, mirror   string
	containerImages string // directory, relative to the root
	standIns        bool   // the container images are the lab's own
	initFormat      string
	headroom        int64 // bytes
	publishable     bool
	devices         []string // Imager's tags of those that the image is for
}

// Read loads and checks options, the recipe and the files it names, and reports all
// problems at once. The build can be looked at, but not carried out.
func Read(ctx context.Context, o Options) (*Build, error) {
	o.Engine = cmp.Or(o.Engine, EmbeddedEngine)
	if err := checkEngine(o.Engine); err != nil {
		return nil, err
	}
	b := &Build{Options: o, Dir: o.BuildDir(), downloads: o.Cache}
	b.logs = filepath.Join(b.Dir, "log")
	b.stages = stage.Runner{Dir: filepath.Join(b.Dir, "stages", o.Profile), Log: o.Log}
	if err := b.describe(ctx); err != nil {
		return nil, err
	}
	if err := b.load(); err != nil {
		return nil, err
	}
	return b, nil
}

// Open does as Read does, looks at the machine as well, and takes what the build works
// with.
func Open(ctx context.Context, o Options, groups ...host.Group) (*Build, error) {
	b, err := Read(ctx, o)
	if err != nil {
		return nil, err
	}
	if b.MakesBaseImage() {
		groups = append(groups, host.Lab)
	}
	// Whether the cache can be used shows at once; that it stays is sure only
	// once it is locked.
	if _, err := layer.Open(o.Cache.Layers(), o.Log); err != nil {
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
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// start takes what the build works with, until Close.
func (b *Build) start(ctx context.Context) error {
	unlock, err := b.Lock(ctx)
	if err != nil {
		return err
	}
	b.close = func() error { return errors.Join(b.RestoreOwner(), b.closeStore(), unlock()) }
	if b.store, err = layer.Open(b.Cache.Layers(), b.Log); err != nil {
		return err
	}
	if b.Refresh == embedded.RefreshBase {
		// The native programs too: they have to be of the base image's versions.
		b.store = b.store.Rebuilding()
	}
	if b.archives, err = debian.OpenArchives(b.downloads.Packages()); err != nil {
		return err
	}
	b.native = &native.Provider{
		Suite: b.values.suite, Mirror: b.values.mirror, Store: b.store, Archives: b.archives, Disabled: b.Emulate, Log: b.Log,
	}
	return errors.Join(b.store.Probe(ctx), b.store.Sweep(), b.Sweep())
}

// Suite and DebianMirror are those of the Debian that the image is based on.
func (b *Build) Suite() string        { return b.values.suite }
func (b *Build) DebianMirror() string { return b.values.mirror }

// InitFormat is how Raspberry Pi Imager hands its settings over.
func (b *Build) InitFormat() string { return b.values.initFormat }

// Close gives back what others wait for: build/, which goes to the owner of the
// checkout, who may have become root only for this, and the cache, which is
// brought down to its limit.
func (b *Build) Close() error {
	if b.close == nil {
		return nil
	}
	return b.close()
}

func (b *Build) closeStore() error {
	if b.store == nil {
		return nil
	}
	problems := []error{b.store.Close(), b.store.Sweep()}
	if b.Limit > 0 {
		problems = append(problems, b.store.Prune(b.Limit))
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
	b.Revision, err = b.ReadRevision(ctx)
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
		names:           artifact.NamesFor(v.String("image_name"), b.Version),
		kind:            v.String("base_image_kind"),
		like:            v.String("base_image_like"),
		suite:           v.String("debian_suite"),
		mirror:          v.String("debian_mirror"),
		containerImages: v.String("container_images"),
		headroom:        v.Int("image_headroom") << 20,
		publishable:     v.Bool("publishable"),
		standIns:        v.String("container_source") == "stand-ins",
		initFormat:      v.String("imager_init_format"),
		devices:         v.Strings("imager_devices"),
	}
	b.Names = b.values.names.In(b.Dir)
	b.Services, err = profileServices(b.Root, r, b.values.standIns)
	return errors.Join(v.Err(), err, r.CheckFiles(b.values.containerImages), checkPaths(r, b.Names), embedded.CheckRefresh(r, b.Refresh), b.checkBuilder())
}

func (b *Build) prepareMachine(ctx context.Context, groups []host.Group) error {
	ctx, span := timing.Start(ctx, "looking at the machine")
	defer span.End()
	for _, dir := range []string{b.stages.Dir, string(b.Cache)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("preparing %s: %w", dir, err)
		}
	}
	err := host.EnsureInstalled(ctx, host.Needs{
		Groups: groups,
		Kernel: true,
		Root:   true,
		Disk:   b.DiskNeeds(),
	}, b.Log)
	if err != nil {
		return err
	}
	return host.SetUpARM64(ctx, b.Log)
}

// dropSuperseded removes what earlier development builds of the profile left
// in build/: every commit gives them another name, and a build of an old
// commit is made again from its layers in seconds.
func (b *Build) dropSuperseded() error {
	const commitMark = "+g"
	base, _, ok := strings.Cut(b.Names.Base, b.Version)
	if !ok {
		return nil
	}
	old, err := filepath.Glob(base + "[0-9]*-dev*" + commitMark + "*-arm64.*")
	if err != nil {
		return err
	}
	for _, path := range old {
		if !strings.HasPrefix(path, b.Names.Base+".") {
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
