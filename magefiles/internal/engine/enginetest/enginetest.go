// Package enginetest provides base images for tests of the engines.
package enginetest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/base"
	"github.com/cubeos-app/releases/magefiles/internal/disk"
	"github.com/cubeos-app/releases/magefiles/internal/disk/disktest"
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
	layout := disktest.Layout()
	layout.ID, layout.Headroom = DiskID, 16<<20
	err := disk.Pack(t.Context(), layout, src, img)
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
