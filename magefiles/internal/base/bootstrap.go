package base

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
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

	"github.com/cubeos-app/releases/magefiles/internal/disk"
	"github.com/cubeos-app/releases/magefiles/internal/process"
	"github.com/cubeos-app/releases/magefiles/internal/progress"
	"github.com/cubeos-app/releases/magefiles/internal/rootfs"
	"github.com/cubeos-app/releases/magefiles/internal/stage"
	"github.com/cubeos-app/releases/magefiles/internal/timing"
)

//go:embed bootstrap.sh
var bootstrapScript []byte

// Debian says where a bootstrapped base image comes from.
type Debian struct {
	Suite  string
	Mirror string // URL; apt verifies what it serves against Debian's keys
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

// Bootstrap returns a Debian arm64 image in Raspberry Pi OS's layout from the
// cache directory, making it if it is not there. It needs root and, unless the
// build machine is arm64, a binfmt handler. lender may be nil.
func Bootstrap(ctx context.Context, from Debian, store *rootfs.Store, lender rootfs.Lender, cacheDir string, log *progress.Reporter) (Image, error) {
	path := from.path(cacheDir)
	if err := os.MkdirAll(cacheDir, 0o755); err != nil {
		return Image{}, fmt.Errorf("preparing the cache of base images: %w", err)
	}
	unlock, err := stage.Lock(ctx, path+".lock", log)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if img, err := recorded(path); err == nil {
		return img, nil
	}

	ctx, span := timing.Start(ctx, "base image")
	defer span.End()
	layers, err := from.system(ctx, store, lender, log)
	if err != nil {
		return Image{}, err
	}
	partial := path + ".partial"
	view, err := rootfs.NewView(layers, path+".view")
	if err != nil {
		return Image{}, err
	}
	ctx, packing := timing.Start(ctx, "packing the base image")
	err = disk.Pack(ctx, from.layout(), view, partial)
	packing.End()
	if err := errors.Join(err, view.Close()); err != nil {
		return Image{}, errors.Join(fmt.Errorf("packing the base image: %w", err), os.Remove(partial))
	}
	return record(partial, path)
}

// Forget makes the next Bootstrap make the image again.
func Forget(ctx context.Context, from Debian, cacheDir string, log *progress.Reporter) error {
	path := from.path(cacheDir)
	unlock, err := stage.Lock(ctx, path+".lock", log)
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
	return filepath.Join(cacheDir, "debian-"+from.Suite+"-"+from.id()[:16]+".img")
}

// system makes the root file system as layers, topmost first.
func (from Debian) system(ctx context.Context, store *rootfs.Store, lender rootfs.Lender, log *progress.Reporter) ([]string, error) {
	minimal, err := store.Layer(ctx, digest(from.mmdebstrapArgv("")...), func(ctx context.Context, d rootfs.Draft) error {
		log.Printf("bootstrapping Debian %s arm64 from %s", from.Suite, from.Mirror)
		ctx, span := timing.Start(ctx, "bootstrapping Debian")
		defer span.End()
		task := log.Task("bootstrapping", 0)
		defer task.End()
		return process.Cmd{Argv: from.mmdebstrapArgv(d.Tree), Stderr: process.Tee(lines(task.Note))}.Run(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("bootstrapping Debian %s: %w", from.Suite, err)
	}
	layers := []string{minimal}
	// Only what is installed when a step begins can be lent to it, so the tools
	// that the system's installation spends its time in have a step of their own.
	for _, step := range []string{"tools", "system"} {
		below, err := rootfs.Identity(layers[0])
		if err != nil {
			return nil, err
		}
		key := digest(below, step, string(bootstrapScript), fmt.Sprint(from.diskID()))
		top, err := store.Layer(ctx, key, func(ctx context.Context, d rootfs.Draft) error {
			log.Printf("installing the base image's %s", step)
			ctx, span := timing.Start(ctx, "installing the base image's "+step)
			defer span.End()
			task := log.Task("installing the base image's "+step, 0)
			defer task.End()
			aids, err := rootfs.BuildAids()
			if err != nil {
				return err
			}
			return rootfs.Provision(ctx, d, layers, lender, []rootfs.Step{{
				Argv: []string{"/bin/bash", "/" + scriptPath, step},
				Env: []string{
					"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive",
					fmt.Sprintf("DISK_ID=%08x", from.diskID()),
				},
				Files:    append(aids, rootfs.AidFile{Path: scriptPath, Mode: 0o755, Data: bootstrapScript}),
				Hostname: "localhost",
				Output:   process.Tee(lines(task.Note)),
			}}, log)
		})
		if err != nil {
			return nil, fmt.Errorf("installing the base image's %s: %w", step, err)
		}
		layers = slices.Insert(layers, 0, top)
	}
	return layers, nil
}

const scriptPath = "tmp/bootstrap.sh"

// id names everything the base image is made from.
func (from Debian) id() string {
	return digest(append([]string{from.Suite, from.Mirror, string(bootstrapScript)}, ext4Features...)...)
}

func digest(parts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])
}

func (from Debian) diskID() uint32 {
	b, _ := hex.DecodeString(from.id()[:8])
	return binary.BigEndian.Uint32(b) | 1
}

func (from Debian) layout() disk.Layout {
	id := from.id()
	uuid := func(hex string) string {
		return strings.Join([]string{hex[:8], hex[8:12], "4" + hex[13:16], "8" + hex[17:20], hex[20:32]}, "-")
	}
	return disk.Layout{
		ID:        from.diskID(),
		BootStart: bootStart,
		BootSize:  bootSize,
		BootType:  "c",
		Boot:      disk.FAT{Label: "bootfs", ID: ^from.diskID()},
		Root: disk.Ext4{
			Label: "rootfs", UUID: uuid(id[:32]), HashSeed: uuid(id[32:]), InodeSize: "256", Features: ext4Features,
		},
		Headroom: headroom,
		Time:     time.Unix(0, 0),
		Latest:   time.Unix(rootfs.BuildTime, 0),
	}
}

// mmdebstrap mounts /proc and more into the tree; in a mount namespace of its
// own that is gone when it ends.
func (from Debian) mmdebstrapArgv(tree string) []string {
	return []string{
		"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		"mmdebstrap", "--mode=root", "--architectures=arm64", "--variant=minbase", "--format=directory",
		"--components=main,non-free-firmware",
		"--aptopt=APT::Install-Recommends \"false\"",
		from.Suite, tree, from.Mirror,
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
