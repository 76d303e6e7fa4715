package debian

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func paths(t *testing.T, c *Archives) []string {
	t.Helper()
	files, err := c.Files()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		all = append(all, f.Path)
	}
	return all
}

func TestKeepsOnlyWhatTheListsName(t *testing.T) {
	top, below, dir := t.TempDir(), t.TempDir(), t.TempDir()
	list := fmt.Sprintf("Package: less\nFilename: pool/less.deb\nSHA256: %x\n\n", sha256.Sum256([]byte("less")))
	write(t, filepath.Join(below, listsDir, "mirror_dists_trixie_main_binary-arm64_Packages"), list)
	write(t, filepath.Join(top, ArchivesDir, "less_668-1_arm64.deb"), "less")
	write(t, filepath.Join(top, ArchivesDir, "evil_1_arm64.deb"), "not from the mirror")
	write(t, filepath.Join(top, ArchivesDir, "partial", "half.deb"), "le")

	c, err := OpenArchives(filepath.Join(dir, "packages"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is there already
		if err := c.Collect(top, below); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{ArchivesDir + "/less_668-1_arm64.deb"}, paths(t, c)); diff != "" {
		t.Error(diff)
	}
	if err := ClearArchives(top); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(top, ArchivesDir, "*.deb")); len(left) > 0 {
		t.Errorf("left in the layer: %v", left)
	}
}

func TestDropsWhatWasDamaged(t *testing.T) {
	dir := t.TempDir()
	name := fmt.Sprintf("%x_less_668-1_arm64.deb", sha256.Sum256([]byte("less")))
	write(t, filepath.Join(dir, name), "lass") // of the same size, which is all that apt looks at
	c, err := OpenArchives(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := paths(t, c); len(got) > 0 {
		t.Errorf("offered %v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
		t.Error("the damaged archive is still there")
	}
}
