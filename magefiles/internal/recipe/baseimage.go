package recipe

import (
	"net/url"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/zclconf/go-cty/cty"
)

// BaseImage is the file that an image is made from.
type BaseImage struct {
	URL    string // https, file:///… or an absolute path; "" where the build makes the file
	SHA256 string // of the file as it is, in lower-case hex; "" together with URL
	Packed bool   // an xz archive
}

// BaseImage is what the source says of the base image.
func (s Source) BaseImage() BaseImage {
	img := BaseImage{SHA256: s.FileChecksum, Packed: s.FileTargetExtension == packed}
	if len(s.FileURLs) > 0 {
		img.URL = s.FileURLs[0]
	}
	return img
}

// packed is the file_target_extension of an xz archive.
const packed = "xz"

// checkBaseImage checks what the source says of the base image against the kind
// of base image.
func (l *loader) checkBaseImage(s *Source) {
	if len(s.FileURLs) != 1 {
		return
	}
	if l.is("base_image_kind", cty.StringVal("bootstrap")) {
		l.checkBootstrap(s)
	} else {
		l.checkDownload(s)
	}
}

func (l *loader) checkDownload(s *Source) {
	img := s.BaseImage()
	bad := func(attribute, format string, args ...any) {
		l.problem(s.At(attribute), "Invalid base image", format, args...)
	}
	switch {
	case img.URL == "":
		bad("file_urls", "A base image that is downloaded needs a URL.")
	case !isFileURL(img.URL):
		bad("file_urls", "The base image has to be an https:// URL, or an absolute path with or without file://, not %q.", img.URL)
	}
	switch {
	case !s.attrs.has("file_checksum"): // reported already
	case img.SHA256 == "":
		bad("file_checksum", "A base image that is downloaded needs a SHA-256.")
	case strings.Count(img.SHA256, img.SHA256[:1]) == len(img.SHA256):
		bad("file_checksum", "%q is a placeholder, not the SHA-256 of a file.", img.SHA256)
	}
}

// checkBootstrap checks a base image that the build makes: before that it has
// no name, and Packer is told of it by the variables.
func (l *loader) checkBootstrap(s *Source) {
	const summary = "Invalid base image"
	img := s.BaseImage()
	for _, made := range []struct{ attribute, value, variable string }{
		{"file_urls", img.URL, "base_image_url"}, {"file_checksum", img.SHA256, "base_image_sha256"},
	} {
		switch {
		case !s.attrs.has(made.attribute): // reported already
		case made.value != "":
			l.problem(s.At(made.attribute), summary, "A base image that is bootstrapped is made by the build: %q has to be empty, not %q.", made.attribute, made.value)
		case s.attrs.follows(made.attribute) != made.variable:
			l.problem(s.At(made.attribute), summary, "Once the base image is made, Packer is told of it by var.%s, so %q has to be that.", made.variable, made.attribute)
		}
	}
	if img.Packed {
		l.problem(s.At("file_target_extension"), summary, "A base image that is bootstrapped is no archive.")
	}
}

// isFileURL says whether s is an address that the build downloads from.
func isFileURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || strings.ContainsFunc(s, unicode.IsSpace) {
		return false
	}
	switch u.Scheme {
	case "https":
		return u.Host != ""
	case "file":
		return u.Host == "" && filepath.IsAbs(u.Path)
	default:
		return filepath.IsAbs(s)
	}
}
