package baseimage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/native"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Debian says where a bootstrapped base image comes from and what it is like.
type Debian struct {
	Suite  string
	Mirror string // URL; apt verifies what it serves against Debian's keys
	Like   Likeness
	// Library is the shell library that the provisioners share, too.
	Library []byte
}

func (from Debian) release() debian.Release {
	return debian.Release{Suite: from.Suite, Arch: "arm64", Mirror: from.Mirror}
}

// Raspberry Pi OS's layout (RPi-Distro/pi-gen, export-image/prerun.sh): the
// features are those of its mkfs.ext4 call without the two it turns off,
// 64bit and huge_file.
const (
	bootStart = 8 << 20
	bootSize  = 512 << 20
	headroom  = 64 << 20
)

var ext4Features = []string{
	"has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "flex_bg",
	"sparse_super", "large_file", "dir_nlink", "extra_isize", "metadata_csum",
}

// Tools are what a bootstrap works with.
type Tools struct {
	Store    *layer.Store
	Archives *debian.Archives
	Native   *native.Provider
}

// Bootstrap returns a Debian arm64 image in Raspberry Pi OS's layout from the
// cache directory, making it if it is not there. It needs root and, unless the
// build machine is arm64, a binfmt handler.
func Bootstrap(ctx context.Context, from Debian, with Tools, cacheDir string, log *progress.Reporter) (Image, error) {
	path := from.path(cacheDir)
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return Image{}, fmt.Errorf("preparing the cache of base images: %w", err)
	}
	unlock, err := lock.Acquire(ctx, path+".lock", lock.Exclusive, log)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if img, err := recorded(path); err == nil {
		return img, nil
	}

	ctx, span := timing.Start(ctx, "base image")
	defer span.End()
	layers, err := from.system(ctx, with, log)
	if err != nil {
		return Image{}, err
	}
	partial := path + ".partial"
	view, err := chroot.NewView(layers, path+".view")
	if err != nil {
		return Image{}, err
	}
	ctx, packing := timing.Start(ctx, "packing the base image")
	err = diskimage.Pack(ctx, from.layout(), view, partial)
	packing.End()
	if err := errors.Join(err, view.Close()); err != nil {
		return Image{}, errors.Join(fmt.Errorf("packing the base image: %w", err), os.Remove(partial))
	}
	return record(partial, path)
}

// Forget makes the next Bootstrap make the image again.
func Forget(ctx context.Context, from Debian, cacheDir string, log *progress.Reporter) error {
	path := from.path(cacheDir)
	unlock, err := lock.Acquire(ctx, path+".lock", lock.Exclusive, log)
	if err != nil {
		return err
	}
	err = os.Remove(path + ".sha256")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, unlock())
}

func (from Debian) path(cacheDir string) string {
	return filepath.Join(cacheDir, string(from.Like)+"-"+from.Suite+"-"+from.id()[:16]+".img")
}

// system makes the root file system as layers, topmost first.
//
// Only a program that is in the tree when a step begins can be replaced by a
// native one, so all packages are first extracted, then unpacked by the device's
// own dpkg, and configured in a step of its own: from the first maintainer script
// on, shell, perl and python are native.
func (from Debian) system(ctx context.Context, with Tools, log *progress.Reporter) ([]string, error) {
	var extracted string
	g, together := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := with.Native.Overlay(together)
		return err
	})
	g.Go(func() (err error) {
		extracted, err = from.extracted(together, with, log)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	layers := []string{extracted}
	overlay, err := with.Native.OverlayFor(ctx, layers)
	if err != nil {
		return nil, err
	}
	for _, step := range from.steps() {
		below, err := layer.Identity(layers[0])
		if err != nil {
			return nil, err
		}
		key := digest(append(from.scripts(), below, step.name, fmt.Sprint(from.diskID()))...)
		top, err := with.Store.Layer(ctx, key, func(ctx context.Context, d layer.Draft) error {
			title := "bootstrapping: " + step.name
			log.Printf("%s", title)
			ctx, span := timing.Start(ctx, title)
			defer span.End()
			task := log.Task(title, 0)
			defer task.End()
			return errors.Join(
				d.Title(title),
				chroot.Provision(ctx, d, layers, overlay, []chroot.Step{from.run(step, task)}, log),
			)
		})
		if err != nil {
			return nil, fmt.Errorf("bootstrapping Debian %s: %s: %w", from.Suite, step.name, err)
		}
		layers = slices.Insert(layers, 0, top)
	}
	return layers, nil
}

// extracted returns the layer with the files of all packages.
func (from Debian) extracted(ctx context.Context, with Tools, log *progress.Reporter) (string, error) {
	tree, err := with.Store.Layer(ctx, digest(from.release().ExtractArgv(from.packages(), "")...), func(ctx context.Context, d layer.Draft) error {
		log.Printf("fetching Debian %s arm64 from %s", from.Suite, from.Mirror)
		ctx, span := timing.Start(ctx, "fetching Debian")
		defer span.End()
		task := log.Task("fetching packages", 0)
		defer task.End()
		return errors.Join(
			d.Title("packages of Debian "+from.Suite),
			from.release().Extract(ctx, from.packages(), d, with.Archives, lines(task.Note)),
		)
	})
	if err != nil {
		return "", fmt.Errorf("fetching Debian %s: %w", from.Suite, err)
	}
	return tree, nil
}

func (from Debian) run(s step, task *progress.Task) chroot.Step {
	return chroot.Step{
		Argv: append([]string{"/bin/bash", "/" + scriptPath}, s.args...),
		Env: []string{
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive",
			fmt.Sprintf("DISK_ID=%08x", from.diskID()), "SUITE=" + from.Suite, "MIRROR=" + strings.TrimSuffix(from.Mirror, "/"),
			"LIKE=" + string(from.Like), "PACKAGES=" + strings.Join(from.packages(), " "), "FILES_ONLY=" + strings.Join(from.filesOnly(), " "),
		},
		Files: append([]chroot.InjectedFile{
			{Path: scriptPath, Mode: 0o755, Data: s.script},
			{Path: libraryPath, Mode: 0o644, Data: from.Library},
			chroot.NoServices(),
		}, s.files...),
		Hostname: "localhost",
		Output:   process.Tee(lines(task.Note)),
	}
}

const (
	scriptPath  = "tmp/bootstrap.sh"
	libraryPath = "tmp/cubeos-lib.sh"
)

// scripts are what the chroot runs.
func (from Debian) scripts() []string {
	all := []string{string(from.Library)}
	for _, s := range from.steps() {
		all = append(all, s.name, string(s.script))
		for _, f := range s.files {
			all = append(all, f.Path, f.Mode.String(), string(f.Data))
		}
	}
	return all
}

// id names everything the base image is made from.
func (from Debian) id() string {
	return digest(slices.Concat(from.release().ExtractArgv(from.packages(), ""), from.scripts(), ext4Features)...)
}

func digest(parts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])
}

func (from Debian) diskID() uint32 {
	b, _ := hex.DecodeString(from.id()[:8])
	return binary.BigEndian.Uint32(b) | 1
}

func (from Debian) layout() diskimage.Layout {
	id := from.id()
	uuid := func(hex string) string {
		return strings.Join([]string{hex[:8], hex[8:12], "4" + hex[13:16], "8" + hex[17:20], hex[20:32]}, "-")
	}
	return diskimage.Layout{
		ID:        from.diskID(),
		BootStart: bootStart,
		BootSize:  bootSize,
		BootType:  "c",
		Boot:      diskimage.FAT{Label: "bootfs", ID: ^from.diskID(), ClusterSectors: from.clusterSectors()},
		Root: diskimage.Ext4{
			Label: "rootfs", UUID: uuid(id[:32]), HashSeed: uuid(id[32:]), InodeSize: "256", Features: ext4Features,
		},
		Headroom: headroom,
		Time:     time.Unix(0, 0),
		Latest:   time.Unix(layer.BuildTime, 0),
	}
}

// lines is a writer that hands on what a command prints.
type lines func(string)

func (l lines) Write(p []byte) (int, error) { l(string(p)); return len(p), nil }

// record moves the finished image to its name, with its digest beside it.
func record(partial, path string) (Image, error) {
	sum, err := stage.FileDigest(partial)
	if err != nil {
		return Image{}, err
	}
	if err := os.WriteFile(path+".sha256", []byte(sum+"\n"), 0o644); err != nil {
		return Image{}, err
	}
	return Image{Path: path, SHA256: sum}, os.Rename(partial, path)
}

func recorded(path string) (Image, error) {
	sum, err := os.ReadFile(path + ".sha256")
	if err != nil {
		return Image{}, err
	}
	_, err = os.Stat(path)
	return Image{Path: path, SHA256: string(bytes.TrimSpace(sum))}, err
}
