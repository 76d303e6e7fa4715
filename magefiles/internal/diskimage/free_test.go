package diskimage

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFreeBlocks(t *testing.T) {
	const told = "Block 1 not in use\nBlock 2 not in use\nBlock 3 marked in use\nBlock 4 not in use\n"
	var f freeBlocks
	if err := f.read(strings.NewReader(told)); err != nil {
		t.Fatal(err)
	}
	if f.seen != 4 {
		t.Errorf("saw %d blocks, want 4", f.seen)
	}
	want := []Range{{0, 1000 + 4096}, {1000 + 3*4096, 1000 + 4*4096}, {1000 + 5*4096, 9_000_000}}
	if diff := cmp.Diff(want, f.complement(1000, 9_000_000)); diff != "" {
		t.Error(diff)
	}
	if err := (&freeBlocks{}).read(strings.NewReader("testb: Invalid block number 0\n")); err == nil {
		t.Error("a line testb does not print for a block was taken")
	}
}
