// Package diskimagetest helps to test what makes images.
package diskimagetest

import (
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
)

// Layout is that of a small image.
func Layout() diskimage.Layout {
	return diskimage.Layout{
		ID: 0xdeadbeef, BootStart: 8 << 20, BootSize: 64 << 20, BootType: "c",
		Boot: diskimage.FAT{Label: "bootfs", ID: 0x1234abcd},
		Root: diskimage.Ext4{
			Label: "rootfs", UUID: "0f0e0d0c-0b0a-4908-8706-050403020100", InodeSize: "256",
			HashSeed: "00010203-0405-4607-8809-0a0b0c0d0e0f",
			Features: []string{"has_journal", "ext_attr", "dir_index", "filetype", "extent", "extra_isize", "metadata_csum"},
		},
		Time: time.Unix(1_700_000_000, 0),
	}
}
