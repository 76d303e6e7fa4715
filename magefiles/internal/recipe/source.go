package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Source is the source of the arm builder, with its defaults filled in.
type Source struct {
	Type, Name string // "arm" and what follows it

	FileURLs            []string // of the base image
	FileChecksum        string   // its SHA-256 in lower-case hex; "" only together with an empty URL
	FileTargetExtension string   // "xz", or "img" for an image that is not packed

	ImagePath  string // absolute
	Partitions []Partition
	ChrootEnv  []string // KEY=value of every command run in the chroot

	Range hcl.Range
	attrs attributes
}

// At is where the recipe says what the attribute is: the value of the variable
// it is taken from, or else the attribute.
func (s Source) At(attribute string) hcl.Range { return s.attrs.origin(attribute) }

func sourceSpec() spec {
	return spec{
		known: map[string]cty.Type{
			"file_urls":                    cty.List(cty.String),
			"file_checksum":                cty.String,
			"file_checksum_type":           cty.String,
			"file_target_extension":        cty.String,
			"file_unarchive_cmd":           cty.List(cty.String),
			"image_build_method":           cty.String,
			"image_path":                   cty.String,
			"image_size":                   cty.String,
			"image_type":                   cty.String,
			"image_chroot_env":             cty.List(cty.String),
			"image_setup_extra":            cty.List(cty.List(cty.String)),
			"qemu_binary_source_path":      cty.String,
			"qemu_binary_destination_path": cty.String,
		},
		required: []string{
			"file_urls", "file_checksum", "file_checksum_type", "file_target_extension", "image_build_method",
			"image_path", "image_size", "image_setup_extra", "image_chroot_env", "qemu_binary_source_path",
		},
		unsupported: []string{
			"file_checksum_url", "file_target_path", "file_tmp_dir_location", "image_mount_path",
			"image_size_bytes",
		},
		blocks: []hcl.BlockHeaderSchema{{Type: "image_partitions"}, {Type: "image_chroot_mounts"}, {Type: "additional_chroot_mounts"}},
	}
}

// decodeSource decodes the one source; nil means that there is none to use.
func (l *loader) decodeSource(content *hcl.BodyContent) *Source {
	blocks := content.Blocks.OfType("source")
	if len(blocks) == 0 {
		l.problem(content.MissingItemRange, "No source", "The recipe needs one source \"arm\" block.")
		return nil
	}
	for _, extra := range blocks[1:] {
		l.unsupported(extra.DefRange, "A second source", fmt.Sprintf("The first one is at %s.", blocks[0].DefRange))
	}
	b := blocks[0]
	if b.Labels[0] != "arm" {
		l.unsupported(b.LabelRanges[0], fmt.Sprintf("The %q builder", b.Labels[0]), "Only \"arm\" of mkaczanowski/packer-builder-arm is.")
		return nil
	}
	s := &Source{Type: b.Labels[0], Name: b.Labels[1], Range: b.DefRange}
	ctx := l.context(map[string]cty.Value{"source": s.accessor()})
	a, nested := l.decode(b, "the arm source", sourceSpec(), ctx)
	s.attrs = a
	s.FileURLs = a.list("file_urls")
	s.FileChecksum = a.str("file_checksum")
	s.FileTargetExtension = strings.ToLower(a.str("file_target_extension"))
	if p := a.str("image_path"); p != "" {
		s.ImagePath = l.abs(p)
	}
	s.ChrootEnv = a.list("image_chroot_env")
	l.checkSource(s, a)
	l.checkPackerOnly(s, a)
	l.checkBaseImage(s)
	l.checkChrootSetup(a)
	l.checkChrootMounts(s, nested.OfType("additional_chroot_mounts"), ctx)
	l.decodePartitions(s, nested.OfType("image_partitions"), ctx)
	for _, b := range nested.OfType("image_chroot_mounts") {
		l.unsupported(b.DefRange, fmt.Sprintf("%q of the arm source", b.Type), "")
	}
	return s
}

// accessor is what source.type and source.name refer to.
func (s *Source) accessor() cty.Value {
	return cty.ObjectVal(map[string]cty.Value{"type": cty.StringVal(s.Type), "name": cty.StringVal(s.Name)})
}

// checkSource checks each attribute by itself, but for those of the partitions
// and of the chroot.
func (l *loader) checkSource(s *Source, a attributes) {
	l.oneOf(a, "file_checksum_type", "sha256")
	l.oneOf(a, "image_build_method", "resize")
	l.oneOf(a, "image_type", "dos")
	l.oneOf(a, "file_target_extension", packed, "img")
	if a.has("file_urls") && len(s.FileURLs) != 1 {
		l.problem(a.at("file_urls"), "Invalid base image", "\"file_urls\" has to name one file, not %d.", len(s.FileURLs))
	}
	if s.FileChecksum != "" && !isSHA256(s.FileChecksum) {
		l.problem(a.at("file_checksum"), "Invalid base image", "\"file_checksum\" has to be a SHA-256: 64 lower-case hexadecimal digits, not %q.", s.FileChecksum)
	}
	if a.has("image_path") && s.ImagePath == "" {
		l.problem(a.at("image_path"), "Invalid image", "\"image_path\" is empty.")
	}
	for i, kv := range s.ChrootEnv {
		l.checkEnv(a.atElement("image_chroot_env", i), kv)
	}
}

// oneOf refuses an attribute that has none of the values.
func (l *loader) oneOf(a attributes, name string, values ...string) {
	if a.has(name) && !slices.Contains(values, a.str(name)) {
		l.problem(a.at(name), "Not supported", "%q has to be %s here, not %q.", name, strings.Join(values, " or "), a.str(name))
	}
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}
