package recipe

import (
	"slices"
	"strings"
	"testing"
)

// testdata/attributes.txt lists every attribute that a recipe may have. The
// pipeline's tests change each of them to see that it is not ignored.
func TestAttributesAreListed(t *testing.T) {
	var lines []string
	for block, s := range map[string]spec{
		"source":                          sourceSpec(),
		"source.image_partitions":         partitionSpec(),
		"source.additional_chroot_mounts": chrootMountSpec(),
		"build":                           buildSpec(),
		"build.provisioner.shell":         shellSpec(),
		"build.provisioner.file":          fileSpec(),
	} {
		for name := range s.known {
			lines = append(lines, block+"."+name+"\n")
		}
	}
	slices.Sort(lines)
	compare(t, "testdata/attributes.txt", strings.Join(lines, ""))
}

// What only Packer uses has to be an attribute that there is.
func TestPackerOnlyIsPartOfTheSource(t *testing.T) {
	for name, reason := range PackerOnly() {
		if _, ok := sourceSpec().known[name]; !ok || reason == "" {
			t.Errorf("%s: %q", name, reason)
		}
	}
}
