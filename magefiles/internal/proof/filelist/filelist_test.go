package filelist

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// member is a file of an archive.
type member struct {
	tar.Header
	content string
}

func list(t *testing.T, members ...member) List {
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
	l := List{}
	if err := l.read(&b, "/boot/firmware"); err != nil {
		t.Fatal(err)
	}
	return l
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
	hard := tar.Header{Typeflag: tar.TypeLink, Name: "./hard", Linkname: "./same"}
	first := list(t, same, member{file("mode"), ""}, member{file("owner"), ""}, member{file("cap"), ""},
		member{file("text"), "a"}, link("a"), member{file("time"), ""}, member{hard, ""}, member{file("gone"), ""}, member{file("type"), ""})
	second := list(t, same, member{mode, ""}, member{owner, ""}, member{capability, ""},
		member{file("text"), "b"}, link("b"), member{later, ""}, member{file("hard"), "x"}, member{file("new"), ""}, member{tar.Header{Typeflag: tar.TypeDir, Name: "./type", Mode: 0o644}, ""})
	want := []Difference{
		{"/boot/firmware/cap", "extended attributes , security.capability=\"\\x01\"\n"},
		{"/boot/firmware/gone", "only in the first"},
		{"/boot/firmware/hard", "type 1, 0; mode 0, 644; link to ./same, ; contents"},
		{"/boot/firmware/link", "link to a, b"},
		{"/boot/firmware/mode", "mode 644, 4755"},
		{"/boot/firmware/new", "only in the second"},
		{"/boot/firmware/owner", "owner 0:0, 7:0"},
		{"/boot/firmware/text", "contents"},
		{"/boot/firmware/time", "time 1970-01-01 00:00:00, 2023-11-14 22:13:20"},
		{"/boot/firmware/type", "type 0, 5; contents"},
	}
	if diff := cmp.Diff(want, first.Differences(second)); diff != "" {
		t.Error(diff)
	}
	if same := first.Differences(first); same != nil {
		t.Errorf("a list differs from itself: %v", same)
	}
}

func TestCompareListsTheFirst(t *testing.T) {
	many := List{}
	for i := range reported + 5 {
		many[fmt.Sprintf("/%02d", i)] = Entry{}
	}
	err := Compare(many, List{})
	if err == nil || !strings.HasPrefix(err.Error(), "files that differ (45):\n/00: only in the first\n") || !strings.HasSuffix(err.Error(), "/39: only in the first\nand 5 more") {
		t.Errorf("got %v", err)
	}
	if err := Compare(many, many); err != nil {
		t.Errorf("a list differs from itself: %v", err)
	}
}
