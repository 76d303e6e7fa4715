package recipe

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
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
	FileUnarchiveCmd    []string

	ImagePath      string // absolute
	ImageSize      string // as qemu-img takes it
	ImageSizeBytes int64
	Partitions     []Partition
	ChrootEnv      []string // KEY=value of every command run in the chroot

	QemuSource      string // the emulator on the build machine
	QemuDestination string // and where the builder puts it in the chroot

	Range hcl.Range
}

// Partition is a partition of the base image, in the order of its table.
type Partition struct {
	Name        string
	Type        string // the table's type byte in hex: "c", "83"
	StartSector int64  // of 512 bytes
	Size        string // "0" for all that is left
	SizeBytes   int64
	Filesystem  string
	Mountpoint  string

	Range hcl.Range
}

// SectorSize is the unit of StartSector.
const SectorSize = 512

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
			"image_path", "image_size", "image_chroot_env", "qemu_binary_source_path",
		},
		unsupported: []string{
			"file_checksum_url", "file_target_path", "file_tmp_dir_location", "image_mount_path",
			"image_size_bytes",
		},
		blocks: []hcl.BlockHeaderSchema{{Type: "image_partitions"}, {Type: "image_chroot_mounts"}, {Type: "additional_chroot_mounts"}},
	}
}

func partitionSpec() spec {
	return spec{
		known: map[string]cty.Type{
			"name": cty.String, "type": cty.String, "start_sector": cty.Number,
			"size": cty.String, "filesystem": cty.String, "mountpoint": cty.String,
		},
		required:    []string{"name", "type", "start_sector", "size", "filesystem", "mountpoint"},
		unsupported: []string{"filesystem_make_options", "int"},
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
	s.FileURLs = a.list("file_urls")
	s.FileChecksum = a.str("file_checksum")
	s.FileTargetExtension = strings.ToLower(a.str("file_target_extension"))
	s.FileUnarchiveCmd = a.list("file_unarchive_cmd")
	s.ImageSize = a.str("image_size")
	if p := a.str("image_path"); p != "" {
		s.ImagePath = l.abs(p)
	}
	s.ChrootEnv = a.list("image_chroot_env")
	s.QemuSource = a.str("qemu_binary_source_path")
	s.QemuDestination = s.QemuSource
	if a.has("qemu_binary_destination_path") {
		s.QemuDestination = a.str("qemu_binary_destination_path")
	}
	l.checkSource(s, a)
	l.checkChrootSetup(a)
	for _, b := range nested {
		switch b.Type {
		case "image_partitions":
			s.Partitions = append(s.Partitions, l.decodePartition(b, ctx))
		case "additional_chroot_mounts":
			l.checkChrootMount(b, ctx)
		default:
			l.unsupported(b.DefRange, fmt.Sprintf("%q of the arm source", b.Type), "")
		}
	}
	l.checkPartitions(s)
	return s
}

// accessor is what source.type and source.name refer to.
func (s *Source) accessor() cty.Value {
	return cty.ObjectVal(map[string]cty.Value{"type": cty.StringVal(s.Type), "name": cty.StringVal(s.Name)})
}

func (l *loader) checkSource(s *Source, a attributes) {
	oneOf := func(name string, values ...string) {
		if !a.has(name) {
			return
		}
		for _, v := range values {
			if a.str(name) == v {
				return
			}
		}
		l.problem(a.at(name), "Not supported", "%q has to be %s here, not %q.", name, strings.Join(values, " or "), a.str(name))
	}
	oneOf("file_checksum_type", "sha256")
	oneOf("image_build_method", "resize")
	oneOf("image_type", "dos")
	oneOf("file_target_extension", "xz", "img")
	if a.has("file_urls") && len(s.FileURLs) != 1 {
		l.problem(a.at("file_urls"), "Invalid base image", "\"file_urls\" has to name one file, not %d.", len(s.FileURLs))
	}
	if b, err := hex.DecodeString(s.FileChecksum); s.FileChecksum != "" && (err != nil || len(b) != 32 || strings.ToLower(s.FileChecksum) != s.FileChecksum) {
		l.problem(a.at("file_checksum"), "Invalid base image", "\"file_checksum\" has to be a SHA-256: 64 lower-case hexadecimal digits, not %q.", s.FileChecksum)
	}
	if s.FileTargetExtension == "xz" && len(s.FileUnarchiveCmd) == 0 && !a.unknown("file_unarchive_cmd") {
		l.problem(a.at("file_unarchive_cmd"), "Invalid base image", "\"file_unarchive_cmd\" is missing: the builder can not unpack an .xz by itself.")
	}
	if a.has("image_path") && s.ImagePath == "" {
		l.problem(a.at("image_path"), "Invalid image", "\"image_path\" is empty.")
	}
	if a.has("image_size") {
		size, err := parseSize(s.ImageSize)
		if err != nil || size == 0 {
			l.problem(a.at("image_size"), "Invalid image", "\"image_size\" has to be a size such as 8G, not %q.", s.ImageSize)
		}
		s.ImageSizeBytes = size
	}
	for _, name := range []string{"qemu_binary_source_path", "qemu_binary_destination_path"} {
		if a.has(name) && !filepath.IsAbs(a.str(name)) {
			l.problem(a.at(name), "Invalid emulator", "%q has to be an absolute path, not %q.", name, a.str(name))
		}
	}
	for i, kv := range s.ChrootEnv {
		l.checkEnv(a.atElement("image_chroot_env", i), kv)
	}
}

func (l *loader) decodePartition(b *hcl.Block, ctx *hcl.EvalContext) Partition {
	a, _ := l.decode(b, "a partition", partitionSpec(), ctx)
	p := Partition{
		Name: a.str("name"), Type: strings.ToLower(a.str("type")), StartSector: a.int64(l, "start_sector"),
		Size: a.str("size"), Filesystem: a.str("filesystem"), Mountpoint: a.str("mountpoint"), Range: b.DefRange,
	}
	if a.has("size") {
		size, err := parseSize(p.Size)
		if err != nil {
			l.problem(a.at("size"), "Invalid partition", "\"size\" has to be a size such as 512M, or 0 for all that is left, not %q.", p.Size)
		}
		p.SizeBytes = size
	}
	types := map[string]string{"vfat": "c", "ext4": "83"}
	switch want, ok := types[p.Filesystem]; {
	case !a.has("filesystem"):
	case !ok:
		l.problem(a.at("filesystem"), "Not supported", "\"filesystem\" has to be vfat or ext4 here, not %q.", p.Filesystem)
	case a.has("type") && p.Type != want:
		l.problem(a.at("type"), "Invalid partition", "A %s partition has type %q, not %q.", p.Filesystem, want, p.Type)
	}
	if a.has("mountpoint") && (!filepath.IsAbs(p.Mountpoint) || filepath.Clean(p.Mountpoint) != p.Mountpoint) {
		l.problem(a.at("mountpoint"), "Invalid partition", "\"mountpoint\" has to be an absolute path, not %q.", p.Mountpoint)
	}
	if a.has("start_sector") && p.StartSector < 1 {
		l.problem(a.at("start_sector"), "Invalid partition", "\"start_sector\" has to be above 0, where the partition table is.")
	}
	return p
}

// parseSize reads a size in qemu-img's units, which are powers of 1024.
func parseSize(s string) (int64, error) {
	digits, shift := s, 0
	if i := strings.IndexAny(s, "KMGT"); i == len(s)-1 && i > 0 {
		digits, shift = s[:i], 10*(1+strings.IndexByte("KMGT", s[i]))
	}
	n, err := strconv.ParseUint(digits, 10, 62-shift)
	if err != nil {
		return 0, fmt.Errorf("%q is no size", s)
	}
	return int64(n) << shift, nil
}
