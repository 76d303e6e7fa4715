package build

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
)

func TestCheckTable(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	r, err := recipe.LoadProfile(root, "lab", map[string]string{"version": "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	boot := diskimage.Partition{Start: 8 << 20, Size: 512 << 20, Type: "c"}
	data := diskimage.Partition{Start: 520 << 20, Size: 2 << 30, Type: "83"}
	for name, tt := range map[string]struct {
		partitions []diskimage.Partition
		want       []string
	}{
		"Raspberry Pi OS":           {[]diskimage.Partition{boot, data}, nil},
		"another size of root":      {[]diskimage.Partition{boot, {Start: data.Start, Size: 5 << 30, Type: "83"}}, nil},
		"Raspberry Pi OS, bookworm": {[]diskimage.Partition{{Start: 4 << 20, Size: boot.Size, Type: "c"}, data}, []string{`"start_sector" 16384`, "in the image it has 8192"}},
		"another size of boot":      {[]diskimage.Partition{{Start: boot.Start, Size: 256 << 20, Type: "c"}, data}, []string{`"size" 512M (536870912 bytes)`, "it has 268435456 bytes"}},
		"everything at once": {
			[]diskimage.Partition{{Start: boot.Start, Size: boot.Size, Type: "ef"}, {Start: data.Start + 512, Size: data.Size, Type: "8e"}},
			[]string{`partition 1, boot, has "type" c`, "it has ef", `partition 2, root, has "type" 83`, "it has 8e", `"start_sector" 1064960`, "it has 1064961"},
		},
		"one partition": {[]diskimage.Partition{data}, []string{"describes 2 partitions, but the image has 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckTable(r, diskimage.Table{ID: 1, Partitions: tt.partitions})
			if len(tt.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := new(recipe.Error); !errors.As(err, &e) || !strings.Contains(err.Error(), "on packer/cubeos.pkr.hcl line ") {
				t.Fatalf("got %v, want the lines of the recipe", err)
			}
			text := strings.Join(strings.Fields(err.Error()), " ")
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in: %s", want, text)
				}
			}
		})
	}
}
