//go:build integration

package filelist

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage/diskimagetest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// layered is a view of two layers.
type layered struct {
	chroot.View
	lower string
}

// twoLayers fills a lower and an upper layer.
func twoLayers(t *testing.T, script string) layered {
	t.Helper()
	dir := t.TempDir()
	lower, upper := filepath.Join(dir, "lower"), filepath.Join(dir, "upper")
	err := process.Run(t.Context(), "sh", "-euc", `mkdir -p "$1/etc" "$2/etc" "$1/boot/firmware"
cd "$1/etc"
for f in plain capable noted touched second listed; do echo same >$f; done
ln second other; ln -s plain link; echo x >../boot/firmware/config.txt
find "$1" -exec touch -hd @1600000000 {} +
cd "$2/etc"; `+script+`
find "$1" "$2" "$1/etc" "$2/etc" -maxdepth 0 -exec touch -d @1600000000 {} +`, "sh", lower, upper)
	if err != nil {
		t.Fatal(err)
	}
	view, err := chroot.NewView([]string{upper, lower}, filepath.Join(dir, "view"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := view.Close(); err != nil {
			t.Error(err)
		}
	})
	return layered{view, lower}
}

func setXAttr(t *testing.T, v layered, file, name string, value []byte) {
	t.Helper()
	if err := unix.Setxattr(filepath.Join(v.lower, file), name, value, 0); err != nil {
		t.Fatal(err)
	}
}

// netBindService is cap_net_bind_service=ep, in revision 2 of the format.
var netBindService = []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// readableBy1000 is an access control list: user::rw-,user:1000:r--,group::r--,
// mask::r--,other::r--.
var readableBy1000 = []byte{
	2, 0, 0, 0,
	1, 0, 6, 0, 255, 255, 255, 255,
	2, 0, 4, 0, 0xe8, 3, 0, 0,
	4, 0, 4, 0, 255, 255, 255, 255,
	16, 0, 4, 0, 255, 255, 255, 255,
	32, 0, 4, 0, 255, 255, 255, 255,
}

func TestListSeesWhatMakesAFile(t *testing.T) {
	ctx := t.Context()
	first := twoLayers(t, "")
	second := twoLayers(t, `rm "$1/etc/other"; cp "$1/etc/second" other; touch -d @1600000000 other; touch -d @1600000007 "$1/etc/touched"`)
	setXAttr(t, second, "etc/capable", "security.capability", netBindService)
	setXAttr(t, second, "etc/noted", "user.x", []byte("y"))
	setXAttr(t, second, "etc/listed", "system.posix_acl_access", readableBy1000)
	var lists []List
	for _, v := range []layered{first, second} {
		l, err := Read(ctx, v)
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, l)
	}
	var got []string
	for _, d := range lists[0].Differences(lists[1]) {
		got = append(got, d.Path+": "+strings.SplitN(d.What, "=", 2)[0])
	}
	want := []string{
		"/etc/capable: extended attributes , security.capability",
		"/etc/listed: extended attributes , SCHILY.acl.access",
		"/etc/noted: extended attributes , user.x",
		"/etc/second: type 1, 0; link to ./etc/other, ; contents",
		"/etc/touched: time 2020-09-13 12:26:40, 2020-09-13 12:26:47",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnImageHoldsWhatWasPacked(t *testing.T) {
	ctx := t.Context()
	view := twoLayers(t, `mknod null c 1 3; mkfifo fifo; mkdir -m 2750 dir; find . -mindepth 1 -exec touch -hd @1600000001 {} +`)
	setXAttr(t, view, "etc/capable", "security.capability", netBindService)
	img := filepath.Join(t.TempDir(), "x.img")
	err := diskimage.Pack(ctx, diskimagetest.Layout(), view, img)
	if err != nil {
		t.Fatal(err)
	}
	mounts := t.TempDir()
	files, err := diskimage.OpenFiles(ctx, img, mounts)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Read(ctx, view)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(ctx, files)
	if err != nil {
		t.Fatal(err)
	}
	var differ []string
	for _, d := range want.Differences(got) {
		differ = append(differ, d.Path+": "+strings.SplitN(d.What, " ", 2)[0])
	}
	// mke2fs makes these by itself.
	if diff := cmp.Diff([]string{"/: time", "/lost+found: only"}, differ); diff != "" {
		t.Errorf("not as packed: %s", diff)
	}
	if want["/etc/capable"].XAttrs == "" || got["/etc/capable"].XAttrs == "" {
		t.Error("the file's capability was not seen")
	}
	for _, dir := range []string{files.RootDir(), files.BootDir()} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s is not an empty mount point: %v", dir, err)
		}
	}
}
