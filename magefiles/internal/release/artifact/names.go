// Package artifact makes what a build hands out from a raw image: the
// compressed image, its checksum, its block map, and the build manifest that
// says where it all came from.
package artifact

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
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

var (
	imageName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	semver    = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?(\+[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$`)
)

// CheckVersion refuses what can not be a version, as the recipe does: it becomes
// part of file names, of URLs, and of the image itself.
func CheckVersion(version string) error {
	if len(version) > 64 || !semver.MatchString(version) {
		return fmt.Errorf("version %q: want MAJOR.MINOR.PATCH such as 1.2.3 or 1.2.3-rc.1, of at most 64 characters and without a leading v", version)
	}
	return nil
}

// VersionFromGit returns the version that the checkout in dir stands for: that
// of its tag, or one that is marked as a development build.
func VersionFromGit(ctx context.Context, dir string) (string, error) {
	described, err := process.Output(ctx, "git", "-C", dir, "describe", "--tags", "--long", "--always", "--dirty", "--abbrev=12", "--match", "v[0-9]*")
	if err != nil {
		return "", fmt.Errorf("asking git for the version: %w\n`-version=1.2.3` sets it by hand", err)
	}
	return versionFromDescribe(described)
}

var (
	describedTag = regexp.MustCompile(`^v(\d+\.\d+\.)(\d+)(-[0-9A-Za-z.-]+)?-(\d+)-g([0-9a-f]+)(-dirty)?$`)
	describedSHA = regexp.MustCompile(`^([0-9a-f]{7,40})(-dirty)?$`)
)

// versionFromDescribe reads what git describe --long --always --dirty prints.
// A commit after v1.2.3 is on the way to 1.2.4, so it is a pre-release of that.
func versionFromDescribe(described string) (string, error) {
	var version string
	if m := describedSHA.FindStringSubmatch(described); m != nil {
		version = "0.0.0-dev+g" + m[1] + dirtyMark(m[2])
	} else if m := describedTag.FindStringSubmatch(described); m != nil {
		patch, pre, distance, sha, dirty := m[2], m[3], m[4], m[5], m[6]
		switch {
		case distance == "0" && dirty == "":
			version = m[1] + patch + pre
		case pre != "":
			version = m[1] + patch + pre + ".dev." + distance + "+g" + sha + dirtyMark(dirty)
		default:
			n, err := strconv.Atoi(patch)
			if err != nil {
				return "", fmt.Errorf("reading the version of %q: %w", described, err)
			}
			version = m[1] + strconv.Itoa(n+1) + "-dev." + distance + "+g" + sha + dirtyMark(dirty)
		}
	} else {
		return "", fmt.Errorf("the tag of %q is no version: want one such as v1.2.3", described)
	}
	return version, CheckVersion(version)
}

func dirtyMark(dirty string) string {
	if dirty == "" {
		return ""
	}
	return ".dirty"
}
