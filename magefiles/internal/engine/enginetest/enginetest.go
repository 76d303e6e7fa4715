// Package enginetest provides base images for tests of the engines.
package enginetest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/base"
	"github.com/cubeos-app/releases/magefiles/internal/disk"
	"github.com/cubeos-app/releases/magefiles/internal/rootfs/rootfstest"
	"github.com/cubeos-app/releases/magefiles/internal/stage"
)

// DiskID is that of the base image.
const DiskID = 0xc0ffee01

// BaseImage makes an image in Raspberry Pi OS's layout, with the build
// machine's own tools as its root file system.
func BaseImage(t *testing.T) base.Image {
	t.Helper()
	src := dirs{rootfstest.Tools(t), t.TempDir()}
	for path, content := range map[string]string{src.root + "/etc/old": "old", src.boot + "/config.txt": "[all]\n"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img := filepath.Join(t.TempDir(), "base.img")
	err := disk.Pack(t.Context(), disk.Layout{
		ID: DiskID, BootStart: 8 << 20, BootSize: 64 << 20, BootType: "c",
		Boot: disk.FAT{Label: "bootfs", ID: 0x11112222},
		Root: disk.Ext4{
			Label: "rootfs", UUID: "0f0e0d0c-0b0a-4908-8706-050403020100", InodeSize: "256",
			HashSeed: "00010203-0405-4607-8809-0a0b0c0d0e0f",
			Features: []string{"has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "sparse_super", "large_file", "extra_isize"},
		},
		Headroom: 16 << 20,
		Time:     time.Unix(1, 0),
	}, src, img)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := stage.FileDigest(img)
	if err != nil {
		t.Fatal(err)
	}
	return base.Image{Path: img, SHA256: sum}
}

// dirs are two trees that need no mounting to be seen.
type dirs struct{ root, boot string }

func (d dirs) Argv(argv ...string) []string { return argv }
func (d dirs) RootDir() string              { return d.root }
func (d dirs) BootDir() string              { return d.boot }
