package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// MakesBaseImage reports whether the base image is made here, not downloaded.
func (b *Build) MakesBaseImage() bool { return b.values.kind == "bootstrap" }

// Base brings the base image into the cache.
func (b *Build) Base(ctx context.Context) (baseimage.Image, error) {
	if b.MakesBaseImage() {
		dir := b.Cache.BaseImages()
		from, err := b.debian()
		if err != nil {
			return baseimage.Image{}, err
		}
		if b.Refresh == embedded.RefreshBase && !b.refreshedBase {
			if err := baseimage.Forget(ctx, from, dir, b.Log); err != nil {
				return baseimage.Image{}, err
			}
			b.refreshedBase = true
		}
		return baseimage.Bootstrap(ctx, from, baseimage.Tools{Store: b.store, Archives: b.archives, Native: b.native}, dir, b.Log)
	}
	source := b.Recipe.Source
	from := source.BaseImage()
	img, err := baseimage.Download(ctx, from.URL, from.SHA256, from.Packed, b.downloads.BaseImages(), b.Log)
	if err != nil {
		return img, fmt.Errorf("%w\nthe recipe names it at %s and pins it at %s", err, source.At("file_urls"), source.At("file_checksum"))
	}
	return img, nil
}

// ArchiveBase packs the base image that is made here into dir, the way Raspberry
// Pi OS is published, and returns the archive.
func (b *Build) ArchiveBase(ctx context.Context, dir string) (baseimage.Image, error) {
	if !b.MakesBaseImage() {
		return baseimage.Image{}, fmt.Errorf("the base image of the profile %s is downloaded, an archive already", b.Profile)
	}
	img, err := b.Base(ctx)
	if err != nil {
		return img, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return img, err
	}
	path := filepath.Join(dir, filepath.Base(img.Path)+".xz")
	err = b.stages.Do(ctx, stage.Stage{
		Name:    "base-archive",
		Inputs:  map[string]string{"base image": img.SHA256, "archive": path},
		Outputs: []string{path, path + ".sha256"},
		Run:     func(ctx context.Context) error { return img.Archive(ctx, path) },
	})
	if err != nil {
		return img, err
	}
	img.Path, img.Packed = path, true
	img.SHA256, err = b.stages.Digest("base-archive", path)
	return img, err
}

// debian is where the base image, if it is made here, and the native programs
// come from.
func (b *Build) debian() (baseimage.Debian, error) {
	library, err := os.ReadFile(filepath.Join(b.Root, "packer", "scripts", "lib.sh"))
	if err != nil {
		return baseimage.Debian{}, fmt.Errorf("reading what the provisioners and the bootstrap share: %w", err)
	}
	return baseimage.Debian{
		Suite: b.values.suite, Mirror: b.values.mirror, Like: baseimage.Likeness(b.values.like), Library: library,
	}, nil
}

// Image makes build/NAME.img: the container images, the base image, and the
// recipe run over it.
func (b *Build) Image(ctx context.Context) error {
	job, err := b.ingredients(ctx)
	if err != nil {
		return err
	}
	inputs, err := b.imageInputs(job)
	if err != nil {
		return err
	}
	if b.Refresh != "" && !b.refreshedImage {
		if err := b.stages.Forget("image"); err != nil {
			return err
		}
		b.refreshedImage = true
	}
	return b.stages.Do(ctx, stage.Stage{
		Name:    "image",
		Inputs:  inputs,
		Outputs: []string{b.Names.Image},
		Run: func(ctx context.Context) error {
			if err := b.dropSuperseded(); err != nil {
				return err
			}
			e, err := b.engine(ctx)
			if err != nil {
				return err
			}
			return e.Build(ctx, job)
		},
	})
}

// ingredients brings the container images and the base image, at the same time.
func (b *Build) ingredients(ctx context.Context) (job build.Job, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.ContainerImages(ctx) })
	g.Go(func() (err error) {
		if job, err = b.Job(ctx); err != nil {
			return err
		}
		_, err = os.Stat(b.Names.Image)
		if b.Engine == EmbeddedEngine && errors.Is(err, fs.ErrNotExist) {
			// It will be needed, and extracting it while other things are still
			// downloaded costs no time.
			_, err = b.embedded(nil).Base(ctx, job)
		}
		return err
	})
	return job, g.Wait()
}

func (b *Build) embedded(overlay chroot.NativeOverlay) embedded.Engine {
	return embedded.Engine{Store: b.store, Native: overlay, Archives: b.archives, Refresh: b.Refresh, Log: b.Log}
}

// Job brings the base image and returns the job that makes the raw image.
func (b *Build) Job(ctx context.Context) (build.Job, error) {
	if err := b.Recipe.PublishModes(); err != nil {
		return build.Job{}, err
	}
	img, err := b.Base(ctx)
	return build.Job{
		Recipe:   b.Recipe,
		Base:     img,
		Image:    b.Names.Image,
		LogDir:   b.logs,
		Headroom: b.values.headroom,
		Time:     b.Revision.Time,
		Again:    b.again("build"),
	}, err
}

// Compress makes the compressed image, its checksum, its block map and the
// build manifest of the image.
func (b *Build) Compress(ctx context.Context) error {
	if err := b.Image(ctx); err != nil {
		return err
	}
	img, err := b.Base(ctx)
	if err != nil {
		return err
	}
	inputs, err := b.compressInputs(img)
	if err != nil {
		return err
	}
	return b.stages.Do(ctx, stage.Stage{
		Name:    "compress",
		Inputs:  inputs,
		Outputs: []string{b.Names.XZ, b.Names.Checksum, b.Names.BlockMap, b.Names.Manifest},
		Run:     func(ctx context.Context) error { return b.compress(ctx, img) },
	})
}

// compressInputs is what the compressed image is made from, and all that the
// build manifest says beside that.
func (b *Build) compressInputs(img baseimage.Image) (map[string]string, error) {
	raw, rawErr := b.stages.Digest("image", b.Names.Image)
	containers, containersErr := stage.FileDigest(b.savedLock())
	digest, digestErr := b.Recipe.Digest()
	return map[string]string{
		"raw image":        raw,
		"level":            fmt.Sprint(b.Level),
		"commit":           b.Revision.Commit,
		"uncommitted":      fmt.Sprint(b.Revision.Dirty),
		"base image":       img.SHA256,
		"container images": containers,
		"recipe":           digest,
		"manifest format":  fmt.Sprint(artifact.SchemaVersion),
	}, errors.Join(rawErr, containersErr, digestErr)
}

func (b *Build) compress(ctx context.Context, img baseimage.Image) error {
	info, err := os.Stat(b.Names.Image)
	if err != nil {
		return err
	}
	occupied, err := diskimage.Occupied(ctx, b.Names.Image, info.Size())
	if err != nil {
		return err
	}
	result, err := artifact.Finish(ctx, artifact.FinishOptions{
		Raw:      b.Names.Image,
		Dir:      b.Dir,
		Names:    b.values.names,
		Level:    b.Level,
		Zeros:    occupied,
		Reporter: b.Log,
	})
	if err != nil {
		return err
	}
	locked, err := containerimage.ReadLock(b.savedLock())
	if err != nil {
		return err
	}
	table, err := b.partitionTable(ctx)
	if err != nil {
		return err
	}
	packages, err := b.debianPackages(ctx)
	if err != nil {
		return err
	}
	manifest, err := b.manifest(img, contents{locked, packages, table}, result)
	if err != nil {
		return err
	}
	return manifest.Write(b.Names.Manifest)
}

// contents is what an image holds.
type contents struct {
	containers []containerimage.Locked
	packages   map[string]string // see artifact.Manifest
	table      artifact.PartitionTable
}

// manifest is the build manifest of an image made from the base image.
func (b *Build) manifest(img baseimage.Image, in contents, result artifact.Result) (artifact.Manifest, error) {
	url := b.Recipe.Source.BaseImage().URL
	switch {
	case url == "":
		url = b.values.mirror
	case filepath.IsAbs(url):
		url = "file://" + url
	}
	recipeDigest, err := b.Recipe.Digest()
	if err != nil {
		return artifact.Manifest{}, err
	}
	m := artifact.Manifest{
		SchemaVersion:   artifact.SchemaVersion,
		Version:         b.Version,
		Profile:         b.Profile,
		Publishable:     b.Publishable() == nil,
		Commit:          b.Revision.Commit,
		SourceDateEpoch: b.Revision.Time.Unix(),
		Created:         time.Now().UTC().Truncate(time.Second),
		BaseImage:       artifact.BaseImage{URL: url, SHA256: img.SHA256, InitFormat: b.values.initFormat},
		RecipeDigest:    recipeDigest,
		DebianPackages:  in.packages,
		PartitionTable:  in.table,
		RawImage:        result.Raw,
		Compressed:      result.XZ,
		BlockMap:        result.BlockMap,
	}
	for _, l := range in.containers {
		m.ContainerImages = append(m.ContainerImages, artifact.ContainerImage{Name: l.Name, Reference: l.Reference, Digest: l.Digest})
	}
	return m, m.Validate()
}

// debianPackages asks the image what is installed in it.
func (b *Build) debianPackages(ctx context.Context) (map[string]string, error) {
	table, err := diskimage.Read(ctx, b.Names.Image)
	if err != nil {
		return nil, err
	}
	_, root, err := table.RaspberryPi()
	if err != nil {
		return nil, err
	}
	const status = "/var/lib/dpkg/status"
	content, err := diskimage.ReadExt4File(ctx, b.Names.Image, root, status)
	if err != nil {
		return nil, err
	}
	packages, err := debian.Installed(content, "arm64")
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", status, b.Names.Image, err)
	}
	return packages, nil
}

func (b *Build) partitionTable(ctx context.Context) (artifact.PartitionTable, error) {
	var summary artifact.PartitionTable
	table, err := diskimage.Read(ctx, b.Names.Image)
	if err != nil {
		return summary, err
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		return summary, err
	}
	fat, fatErr := diskimage.ReadFAT(ctx, b.Names.Image, boot)
	ext4, ext4Err := diskimage.ReadExt4(ctx, b.Names.Image, root)
	if err := errors.Join(fatErr, ext4Err); err != nil {
		return summary, err
	}
	summary.DiskID = fmt.Sprintf("%08x", table.ID)
	summary.Partitions = []artifact.Partition{
		{Number: 1, Type: boot.Type, FileSystem: "vfat", Label: fat.Label, UUID: fat.UUID(), Start: boot.Start, Size: boot.Size},
		{Number: 2, Type: root.Type, FileSystem: "ext4", Label: ext4.Label, UUID: ext4.UUID, Start: root.Start, Size: root.Size},
	}
	return summary, nil
}

// checkPaths refuses a recipe whose image would be called otherwise than the
// artifacts made from it.
func checkPaths(r *recipe.Recipe, names artifact.Names) error {
	if r.Source.ImagePath == names.Image {
		return nil
	}
	return r.Refuse(recipe.Problem{
		At:      r.Source.At("image_path"),
		Summary: "Invalid image",
		Detail:  fmt.Sprintf("\"image_path\" is %s, but the artifacts are made from %s: image_name, a hyphen, the version and -arm64.img in build/.", r.Source.ImagePath, names.Image),
	})
}

// Publishable returns an error that says why nothing made of this may be
// published.
func (b *Build) Publishable() error {
	var problems []error
	if !b.values.publishable {
		problems = append(problems, fmt.Errorf("images of the profile %s are never released", b.Profile))
	}
	if b.Revision.Commit == "" {
		problems = append(problems, fmt.Errorf("%s is no git checkout; a release has to be repeatable from its commit", b.Root))
	}
	if b.Revision.Dirty {
		problems = append(problems, errors.New("the checkout has changes that are not committed; a release has to be repeatable from its commit"))
	}
	return errors.Join(problems...)
}
