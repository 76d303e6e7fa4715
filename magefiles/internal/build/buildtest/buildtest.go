// Package buildtest provides base images for tests of the engines.
package buildtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/chroottest"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage/diskimagetest"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// DiskID is that of the base image.
const DiskID = 0xc0ffee01

// Partitions are those of the base image, for the source block of a recipe.
const Partitions = `  image_partitions {
    name         = "boot"
    type         = "c"
    start_sector = 16384
    size         = "64M"
    filesystem   = "vfat"
    mountpoint   = "/boot/firmware"
  }
  image_partitions {
    name         = "root"
    type         = "83"
    start_sector = 147456
    size         = "0"
    filesystem   = "ext4"
    mountpoint   = "/"
  }
`

// ChrootSetup is what a source block needs for Packer's chroot.
const ChrootSetup = `  image_setup_extra = [
    ["cp", "--remove-destination", "/etc/resolv.conf", "$MOUNTPOINT/etc/resolv.conf"],
    ["sh", "-c", "printf '#!/bin/sh\\nexit 101\\n' >\"$0\" && chmod 755 \"$0\"", "$MOUNTPOINT/usr/sbin/policy-rc.d"],
  ]
  additional_chroot_mounts {
    mount_type       = "tmpfs"
    source_path      = "tmpfs"
    destination_path = "/run"
  }
`

// BaseImage makes an image in Raspberry Pi OS's layout, with the build
// machine's own tools as its root file system.
func BaseImage(t *testing.T) baseimage.Image {
	t.Helper()
	src := Dirs{chroottest.Tools(t), t.TempDir()}
	for path, content := range map[string]string{src.Root + "/etc/old": "old", src.Boot + "/config.txt": "[all]\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img := filepath.Join(t.TempDir(), "base.img")
	layout := diskimagetest.Layout()
	layout.ID, layout.Headroom = DiskID, 16<<20
	err := diskimage.Pack(t.Context(), layout, src, img)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := stage.FileDigest(img)
	if err != nil {
		t.Fatal(err)
	}
	return baseimage.Image{Path: img, SHA256: sum}
}

// Dirs are two trees that need no mounting to be seen: a diskimage.Source.
type Dirs struct{ Root, Boot string }

// Argv returns argv.
func (d Dirs) Argv(argv ...string) []string { return argv }

// RootDir returns Root.
func (d Dirs) RootDir() string { return d.Root }

// BootDir returns Boot.
func (d Dirs) BootDir() string { return d.Boot }
