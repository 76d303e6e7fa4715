// Package artifact makes what a build hands out from a raw image: the
// compressed image, its checksum, its block map, and the build manifest that
// says where it all came from.
package artifact

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// Names are the file names of one build.
type Names struct {
	Base     string // cubeos-1.2.3-arm64
	Image    string // the raw image
	XZ       string // the compressed image
	Checksum string // of the compressed image, for sha256sum -c
	BlockMap string
	Manifest string // the build manifest
}

// NamesFor returns the file names for the recipe's image_name and a version.
func NamesFor(image, version string) Names { return namesOf(image + suffix(version)) }

func suffix(version string) string { return "-" + version + "-arm64" }

// namesLike returns the names that go with that of a raw image of a version.
func namesLike(raw, version string) (Names, error) {
	base, isImage := strings.CutSuffix(raw, ".img")
	image, isOurs := strings.CutSuffix(base, suffix(version))
	if !isImage || !isOurs || !imageName.MatchString(image) {
		return Names{}, fmt.Errorf("the raw image is called %q: want NAME%s.img", raw, suffix(version))
	}
	return namesOf(base), nil
}

// VersionOf returns the version of the compressed image at an address, if it is
// one of the recipe's image_name.
func VersionOf(address, image string) (version string, ok bool) {
	file := path.Base(address)
	version = strings.TrimSuffix(strings.TrimPrefix(file, image+"-"), "-arm64.img.xz")
	return version, CheckVersion(version) == nil && NamesFor(image, version).XZ == file
}

func namesOf(base string) Names {
	return Names{
		Base:     base,
		Image:    base + ".img",
		XZ:       base + ".img.xz",
		Checksum: base + ".img.xz.sha256",
		BlockMap: base + ".img.bmap",
		Manifest: base + ".manifest.json",
	}
}

// In returns the names as paths in dir.
func (n Names) In(dir string) Names {
	return Names{
		Base:     filepath.Join(dir, n.Base),
		Image:    filepath.Join(dir, n.Image),
		XZ:       filepath.Join(dir, n.XZ),
		Checksum: filepath.Join(dir, n.Checksum),
		BlockMap: filepath.Join(dir, n.BlockMap),
		Manifest: filepath.Join(dir, n.Manifest),
	}
}

var imageName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
