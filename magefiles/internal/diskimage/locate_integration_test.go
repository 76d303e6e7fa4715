//go:build integration

package diskimage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLocate(t *testing.T) {
	ctx, tmp := t.Context(), t.TempDir()
	src := makeTree(t, ctx, tmp, 1)
	marked := []byte("a text that is in no other file")
	must(t, os.WriteFile(filepath.Join(src.root, "old/marked"), marked, 0o644))
	img := filepath.Join(tmp, "x.img")
	must(t, Pack(ctx, testLayout(), src, img))
	raw, err := os.ReadFile(img)
	must(t, err)
	file, err := os.Open(img)
	must(t, err)
	defer file.Close()
	const root = 72 << 20
	fs, err := openExt4(file, Partition{root, int64(len(raw)) - root, "83"})
	must(t, err)
	rootInode := root + fs.groups[0].inodeTable*fs.blockSize + fs.inodeSize
	for name, tt := range map[string]struct {
		offset int64
		want   string
	}{
		"table":       {446, "the partition table"},
		"gap":         {1 << 20, "no partition"},
		"boot":        {8<<20 + 90, "byte 90 of the boot partition"},
		"superblock":  {root + 1024 + 5, "in the superblock"},
		"inode":       {rootInode + 8, "in inode 2"},
		"file":        {int64(bytes.Index(raw, marked)), "/old/marked"},
		"unused":      {int64(len(raw)) - 5000, "in no file's block"},
		"inode table": {rootInode - fs.inodeSize, "in inode 1"},
	} {
		got, err := Locate(ctx, img, tt.offset)
		must(t, err)
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
