//go:build integration

package proof

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage/diskimagetest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// smallImage packs a tree that script fills.
func smallImage(t *testing.T, script string) string {
	t.Helper()
	tree := t.TempDir()
	err := process.Run(t.Context(), "sh", "-euc", `cd "$1"; mkdir -p etc boot/firmware; echo same >etc/same; echo a >boot/firmware/config.txt
`+script+`
find . -exec touch -hd @1600000000 {} +`, "sh", tree)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	view, err := chroot.NewView([]string{tree}, filepath.Join(dir, "view"))
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(dir, "x.img")
	err = diskimage.Pack(t.Context(), diskimagetest.Layout(), view, img)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestImagesThatDiffer(t *testing.T) {
	plain := smallImage(t, "")
	changed := filepath.Join(t.TempDir(), "x.img")
	raw, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-5000] ^= 1
	if err := os.WriteFile(changed, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		other, want string
	}{
		"same":      {smallImage(t, ""), ""},
		"contents":  {smallImage(t, "echo other >etc/same"), "files that differ (1):\n/etc/same: contents"},
		"boot file": {smallImage(t, "echo b >boot/firmware/config.txt"), "files that differ (1):\n/boot/firmware/config.txt: contents"},
		"one more":  {smallImage(t, "echo x >etc/new"), "files that differ (1):\n/etc/new: only in the second"},
		"no file":   {changed, "in no file's block"},
	} {
		err := compareImages(t.Context(), plain, tt.other, t.TempDir(), nil)
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
