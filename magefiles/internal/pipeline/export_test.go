package pipeline

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// Plan loads the recipe of a profile as Open does, and returns the build, what
// it would do of what the recipe decides, and the build manifest that it would
// write. The base image is laid out as Raspberry Pi OS is. The recipe's digest
// is no part of what the embedded engine would do.
func Plan(o Options) (*Build, map[string]any, artifact.Manifest, error) {
	b := &Build{
		Options: o, Dir: o.BuildDir(),
		Revision: workspace.Revision{Commit: strings.Repeat("c0ffee00", 5), Time: time.Unix(1, 0)},
	}
	fail := func(err error) (*Build, map[string]any, artifact.Manifest, error) {
		return nil, nil, artifact.Manifest{}, err
	}
	if err := b.load(); err != nil {
		return fail(err)
	}
	raspberryPiOS := diskimage.Table{ID: 1, Partitions: []diskimage.Partition{
		{Start: 8 << 20, Size: 512 << 20, Type: "c"}, {Start: 520 << 20, Size: 2 << 30, Type: "83"},
	}}
	img := baseimage.Image{SHA256: b.Recipe.Source.BaseImage().SHA256}
	if b.MakesBaseImage() {
		img.SHA256 = strings.Repeat("ab", 32)
	}
	// What the stages before would have made.
	if err := errors.Join(os.MkdirAll(b.Dir, 0o755), os.MkdirAll(filepath.Join(b.Root, b.values.containerImages), 0o755)); err != nil {
		return fail(err)
	}
	inputs, err := b.imageInputs(build.Job{Recipe: b.Recipe, Base: img, Image: b.Names.Image, Headroom: b.values.headroom, Time: b.Revision.Time})
	if err := errors.Join(build.CheckTable(b.Recipe, raspberryPiOS), err); err != nil {
		return fail(err)
	}
	// It makes the engine look again, which is no use if it does not care.
	delete(inputs, "partitions")
	file := func(path string) artifact.File {
		return artifact.File{Name: filepath.Base(path), Size: 4 << 20, SHA256: strings.Repeat("cd", 32)}
	}
	manifest, err := b.manifest(img, contents{
		containers: []containerimage.Locked{{Entry: containerimage.Entry{Name: "api", Reference: "example.org/api:1"}, Digest: "sha256:" + strings.Repeat("ef", 32)}},
		packages:   map[string]string{"adduser": "3.152"},
		table:      artifact.PartitionTable{DiskID: "00000001", Partitions: []artifact.Partition{{Number: 1, Start: 1 << 20, Size: 1 << 20}}},
	},
		artifact.Result{Raw: file(b.Names.Image), XZ: file(b.Names.XZ), BlockMap: file(b.Names.BlockMap)})
	if err != nil {
		return fail(err)
	}
	manifest.Created, manifest.RecipeDigest = time.Unix(1, 0), strings.Repeat("ab", 32)
	debian, err := b.debian()
	if err != nil {
		return fail(err)
	}
	return b, map[string]any{
		"base image is made": b.MakesBaseImage(),
		"base image":         b.Recipe.Source.BaseImage(),
		"Debian":             debian,
		"container images":   []any{b.values.standIns, b.values.containerImages},
		"image":              inputs,
		"artifacts":          b.Names,
		"manifest":           manifest,
	}, manifest, nil
}
