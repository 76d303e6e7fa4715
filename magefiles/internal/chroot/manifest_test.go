package chroot

import (
	"archive/tar"
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// member is a file of an archive.
type member struct {
	tar.Header
	content string
}

func manifest(t *testing.T, members ...member) Manifest {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range members {
		f.Size, f.Format = int64(len(f.content)), tar.FormatPAX
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	m := Manifest{}
	if err := m.read(&b, "/boot/firmware"); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDifferences(t *testing.T) {
	file := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: "./" + name, Mode: 0o644}
	}
	same := member{file("same"), "x"}
	mode, owner, capability := file("mode"), file("owner"), file("cap")
	mode.Mode, owner.Uid = 0o4755, 7
	capability.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01"}
	link := func(to string) member {
		return member{tar.Header{Typeflag: tar.TypeSymlink, Name: "./link", Linkname: to}, ""}
	}
	later := file("time")
	later.ModTime = time.Unix(1_700_000_000, 0)
	hard := tar.Header{Typeflag: tar.TypeLink, Name: "./twin", Linkname: "./same"}
	first := manifest(t, same, member{file("mode"), ""}, member{file("owner"), ""}, member{file("cap"), ""},
		member{file("text"), "a"}, link("a"), member{file("time"), ""}, member{hard, ""}, member{file("gone"), ""}, member{file("type"), ""})
	second := manifest(t, same, member{mode, ""}, member{owner, ""}, member{capability, ""},
		member{file("text"), "b"}, link("b"), member{later, ""}, member{file("twin"), "x"}, member{file("new"), ""}, member{tar.Header{Typeflag: tar.TypeDir, Name: "./type", Mode: 0o644}, ""})
	want := []Difference{
		{"/boot/firmware/cap", "extended attributes , security.capability=\"\\x01\"\n"},
		{"/boot/firmware/gone", "only in the first"},
		{"/boot/firmware/link", "link to a, b"},
		{"/boot/firmware/mode", "mode 644, 4755"},
		{"/boot/firmware/new", "only in the second"},
		{"/boot/firmware/owner", "owner 0:0, 7:0"},
		{"/boot/firmware/text", "contents"},
		{"/boot/firmware/time", "time 1970-01-01 00:00:00, 2023-11-14 22:13:20"},
		{"/boot/firmware/twin", "type 1, 0; mode 0, 644; link to ./same, ; contents"},
		{"/boot/firmware/type", "type 0, 5; contents"},
	}
	if diff := cmp.Diff(want, first.Differences(second)); diff != "" {
		t.Error(diff)
	}
	if same := first.Differences(first); same != nil {
		t.Errorf("a manifest differs from itself: %v", same)
	}
}
