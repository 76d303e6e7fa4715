package diskimage

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFillBootArgvs(t *testing.T) {
	files, err := parseBootFiles("f 1600000000.5000000000 z\x00d 1600000000.0 over lays\x00f 1600000001.0 over lays/b\x00" +
		"f 2000000000.0 over lays/new\x00f 1600000001.0 over lays/a\x00d 1.0 over lays/empty\x00f 100.0 old\x00")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, argv := range fillBootArgvs(files, "/boot", "x.img@@512", time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1_700_000_000, 0)) {
		got = append(got, strings.Join(argv, "|"))
	}
	want := []string{
		"mmd|-i|x.img@@512|::over lays|::over lays/empty",
		"mcopy|-m|-p|-Q|-i|x.img@@512|/boot/z|::",
		"mcopy|-p|-Q|-i|x.img@@512|/boot/old|::",
		"mcopy|-m|-p|-Q|-i|x.img@@512|/boot/over lays/a|/boot/over lays/b|::over lays",
		"mcopy|-p|-Q|-i|x.img@@512|/boot/over lays/new|::over lays",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if files, err := parseBootFiles(""); len(files) > 0 || err != nil {
		t.Errorf("of nothing: %v, %v", files, err)
	}
	if _, err := parseBootFiles("f yesterday z\x00"); err == nil {
		t.Error("a time that is none was taken")
	}
}

// The characters are those that mkfs.vfat names in its message.
func TestCheckLabel(t *testing.T) {
	for _, good := range []string{"", "bootfs", "MY BOOT", "P&I (1)", "A'B`C$~!@#%", "ELEVENCHARS"} {
		if err := (FAT{Label: good}).CheckLabel(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{" A", "A.B", "A/B", `A\B`, "A*", "A?", "A:B", "A+B", "A[1]", `"A"`, "A\x01", "B\xd6OT", "Böot", "TWELVE CHARS"} {
		if err := (FAT{Label: bad}).CheckLabel(); err == nil || !strings.Contains(err.Error(), "fatlabel") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}
