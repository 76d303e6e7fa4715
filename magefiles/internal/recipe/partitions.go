package recipe

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Partition is a partition of the base image, in the order of its table.
type Partition struct {
	Name        string
	Type        string // the table's type byte in lower-case hex: "c", "83"
	StartSector int64  // of sectorSize bytes
	Size        string // "0" for all that is left
	SizeBytes   int64
	Filesystem  string
	Mountpoint  string

	Range hcl.Range
	attrs attributes
}

// At is where the recipe says what the attribute is; see Source.At.
func (p Partition) At(attribute string) hcl.Range { return p.attrs.origin(attribute) }

// sectorSize is the unit of StartSector, in bytes.
const sectorSize = 512

// role is what a partition of the image is for.
type role struct {
	name, filesystem, mountpoint string
	types                        []string // that the partition table may give it
}

// roles are the partitions of Raspberry Pi OS, whose layout both engines keep.
func roles() []role {
	return []role{
		{"boot", "vfat", "/boot/firmware", []string{"c", "b", "e"}},
		{"root", "ext4", "/", []string{"83"}},
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

// decodePartitions decodes the partitions and checks them against the roles,
// each other and the image.
func (l *loader) decodePartitions(s *Source, blocks hcl.Blocks, ctx *hcl.EvalContext) {
	roles := roles()
	var next int64
	for i, b := range blocks {
		if i >= len(roles) {
			l.problem(b.DefRange, "Not supported", "An image has a boot and a root partition here, and no other.")
			continue
		}
		p := l.decodePartition(b, roles[i], ctx)
		if p.StartSector > 0 && p.StartSector < next {
			l.problem(p.At("start_sector"), "Invalid partition", "The partition %q starts at sector %d, but the one before it ends at sector %d.", p.Name, p.StartSector, next-1)
		}
		next = p.StartSector + p.SizeBytes/sectorSize
		s.Partitions = append(s.Partitions, p)
	}
	if len(blocks) < len(roles) {
		l.problem(s.Range, "Invalid partitions", "The \"image_partitions\" have to describe the boot and the root partition of the base image.")
	}
	if size, err := parseSize(s.attrs.str("image_size")); err == nil && size > 0 && next*sectorSize >= size {
		l.problem(s.At("image_size"), "Invalid partitions", "The partitions need more than the image_size of %s.", s.attrs.str("image_size"))
	}
}

func (l *loader) decodePartition(b *hcl.Block, as role, ctx *hcl.EvalContext) Partition {
	a, _ := l.decode(b, "a partition", partitionSpec(), ctx)
	p := Partition{
		Name: a.str("name"), Type: strings.ToLower(a.str("type")), StartSector: a.int64(l, "start_sector"),
		Size: a.str("size"), Filesystem: a.str("filesystem"), Mountpoint: a.str("mountpoint"), Range: b.DefRange, attrs: a,
	}
	l.oneOf(a, "name", as.name)
	l.oneOf(a, "filesystem", as.filesystem)
	l.oneOf(a, "mountpoint", as.mountpoint)
	l.oneOf(a, "type", as.types...)
	if a.has("start_sector") && p.StartSector < 1 {
		l.problem(a.at("start_sector"), "Invalid partition", "\"start_sector\" has to be above 0, where the partition table is.")
	}
	if !a.has("size") {
		return p
	}
	size, err := parseSize(p.Size)
	isRoot := as.mountpoint == "/"
	switch {
	case err != nil:
		l.problem(a.at("size"), "Invalid partition", "\"size\" has to be a size such as 512M, or 0 for all that is left, not %q.", p.Size)
	case isRoot && size != 0:
		l.problem(a.at("size"), "Invalid partition", "The root partition takes all that is left of the image: its size has to be 0, not %q.", p.Size)
	case !isRoot && size == 0:
		l.problem(a.at("size"), "Invalid partition", "Only the root partition, the last one, can take all that is left (size 0).")
	case size%sectorSize != 0:
		l.problem(a.at("size"), "Invalid partition", "The size %q is no multiple of %d bytes.", p.Size, sectorSize)
	}
	p.SizeBytes = size
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
