package disk

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFreeBlocks(t *testing.T) {
	const dump = `Free blocks:              1234
Group 0: (Blocks 0-32767) csum 0x1 [ITABLE_ZEROED]
  Free blocks: 100-199, 300
  Free inodes: 12-8112
Group 1: (Blocks 32768-65535) csum 0x2
  Free blocks: 
`
	var f freeBlocks
	if err := f.read(strings.NewReader(dump)); err != nil {
		t.Fatal(err)
	}
	want := []Range{{0, 1000 + 100*4096}, {1000 + 200*4096, 1000 + 300*4096}, {1000 + 301*4096, 9_000_000}}
	if diff := cmp.Diff(want, f.complement(1000, 9_000_000)); diff != "" {
		t.Error(diff)
	}
	if err := (&freeBlocks{}).read(strings.NewReader("  Free blocks: 1-x\n")); err == nil {
		t.Error("a list dumpe2fs does not print was taken")
	}
}
