package containerimage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// armVersion is a version of the 64-bit ARM architecture, which is what a
// platform's variant names: v8 or v8.2. A processor runs what is made for its
// own version and for those before it.
type armVersion struct{ major, minor int }

func (v armVersion) String() string {
	if v.minor == 0 {
		return fmt.Sprintf("v%d", v.major)
	}
	return fmt.Sprintf("v%d.%d", v.major, v.minor)
}

func (v armVersion) newer(other armVersion) bool {
	return v.major > other.major || v.major == other.major && v.minor > other.minor
}

// parseVariant reads a platform's variant. None is the first version.
func parseVariant(variant string) (armVersion, error) {
	if variant == "" {
		return armVersion{8, 0}, nil
	}
	major, minor, dotted := strings.Cut(strings.TrimPrefix(variant, "v"), ".")
	x, errMajor := strconv.Atoi(major)
	y, errMinor := strconv.Atoi(minor)
	if !dotted {
		errMinor = nil
	}
	return armVersion{x, y}, errors.Join(errMajor, errMinor)
}

// versionOf returns the newest version that every one of the devices, by
// Imager's tags, has: a Raspberry Pi 4 is a Cortex-A72, a 5 a Cortex-A76.
func versionOf(devices []string) armVersion {
	if len(devices) > 0 && !slices.ContainsFunc(devices, func(d string) bool { return d != "pi5-64bit" }) {
		return armVersion{8, 2}
	}
	return armVersion{8, 0}
}

// suits says whether an image for p runs on the devices, and for which version
// of the architecture it is made.
func (s *store) suits(p v1.Platform) (armVersion, bool) {
	v, err := parseVariant(p.Variant)
	return v, p.OS == "linux" && p.Architecture == "arm64" && err == nil && !v.newer(s.arm)
}

// platformError says for which other platforms than that of the devices an
// image is made.
type platformError struct {
	arm     armVersion // of the devices
	offered []string
}

func (e *platformError) Error() string {
	want, only := "linux/arm64", "for no platform"
	if len(e.offered) > 0 {
		only = "only for " + strings.Join(e.offered, ", ")
	}
	if slices.ContainsFunc(e.offered, func(p string) bool { return strings.HasPrefix(p, want+"/") }) {
		want += "/" + e.arm.String()
	}
	return "it is not made for " + want + ", " + only + ": choose a tag that is"
}

// candidate is an image of an index that runs on the devices.
type candidate struct {
	digest v1.Hash
	arm    armVersion
}

// selection gathers what an index and those inside it have.
type selection struct {
	best    candidate // the first of the newest version
	offered []string  // what does not run on the devices
}

func (c *selection) add(digest v1.Hash, v armVersion) {
	if c.best == (candidate{}) || v.newer(c.best.arm) {
		c.best = candidate{digest, v}
	}
}

// deepestIndex is how many indexes may be inside one another.
const deepestIndex = 4

// choose looks through an index for what runs on the devices. Of what an index
// may hold it takes images and indexes, and ignores the rest.
func (s *store) choose(ctx context.Context, repo name.Repository, index document, depth int, among *selection) error {
	if depth > deepestIndex {
		return fmt.Errorf("more than %d indexes are inside one another", deepestIndex)
	}
	for _, m := range index.Manifests {
		image, nested := m.MediaType.IsImage(), m.MediaType.IsIndex()
		if !image && !nested || m.Platform != nil && m.Platform.Architecture == "unknown" { // an attestation
			continue
		}
		if m.Platform != nil {
			version, ok := s.suits(*m.Platform)
			switch {
			case !ok:
				among.offered = append(among.offered, m.Platform.String())
				continue
			case image:
				among.add(m.Digest, version)
				continue
			}
		}
		var err error
		if nested {
			err = s.chooseInside(ctx, repo, m.Digest, depth, among)
		} else {
			err = s.consider(ctx, repo, m.Digest, among)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *store) chooseInside(ctx context.Context, repo name.Repository, digest v1.Hash, depth int, among *selection) error {
	inner, err := s.source.manifest(ctx, repo.Digest(digest.String()))
	if err != nil {
		return fmt.Errorf("reading the index %s inside its index: %w", digest, err)
	}
	return s.choose(ctx, repo, inner, depth+1, among)
}

// consider asks the configuration of an image for the platform that the index
// does not tell.
func (s *store) consider(ctx context.Context, repo name.Repository, digest v1.Hash, among *selection) error {
	img, err := s.open(ctx, repo, digest)
	if other := new(platformError); errors.As(err, &other) {
		among.offered = append(among.offered, other.offered...)
		return nil
	}
	if errors.Is(err, errNoImage) {
		return nil // such as a signature
	}
	if err == nil {
		among.add(digest, img.arm)
	}
	return err
}
