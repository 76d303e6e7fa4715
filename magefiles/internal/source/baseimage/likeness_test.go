package baseimage

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// An archive is what a profile can name as its base image.
func TestArchiveCanBeDownloaded(t *testing.T) {
	dir := t.TempDir()
	raw := filepath.Join(dir, "base.img")
	if err := os.WriteFile(raw, []byte("an image"), 0o644); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "out", "base.img.xz")
	if err := (Image{Path: raw}).Archive(t.Context(), archive); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(archive + ".sha256")
	if err != nil {
		t.Fatal(err)
	}
	sum, _, _ := strings.Cut(string(sums), " ")
	img, err := Download(t.Context(), archive, sum, true, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := process.Output(t.Context(), "xz", "--decompress", "--stdout", img.Path); err != nil || got != "an image" {
		t.Errorf("it holds %q (%v)", got, err)
	}
	if err := (process.Cmd{Argv: []string{"sha256sum", "--check", filepath.Base(archive) + ".sha256"}, Dir: filepath.Dir(archive)}).Run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnotherLikenessIsAnotherBaseImage(t *testing.T) {
	debian := Debian{Suite: "trixie", Mirror: "http://a/debian", Like: LikeDebian}
	raspios := debian
	raspios.Like = LikeRaspiOS
	if debian.id() == raspios.id() || debian.path("") == raspios.path("") {
		t.Error("the two are in one file of the cache")
	}
	if got := raspios.layout().Boot.ClusterSectors; got != 1 {
		t.Errorf("the boot partition has clusters of %d sectors", got)
	}
	for _, name := range raspios.filesOnly() {
		if !slices.Contains(raspios.packages(), name) {
			t.Errorf("files of %s are wanted, and it is not fetched", name)
		}
	}
}

// What is embedded has neither modes nor the names of its packages' versions: the
// first lines tell.
func TestFilesOfRaspberryPiOS(t *testing.T) {
	controls := map[string]string{}
	for _, f := range raspiosFiles() {
		name := strings.TrimPrefix(f.Path, "tmp/raspios/")
		pkg, inside, ok := strings.Cut(strings.TrimPrefix(name, "packages/"), "/")
		if !ok || !strings.HasPrefix(name, "packages/") {
			continue
		}
		if inside == "DEBIAN/control" {
			controls[pkg] = string(f.Data)
		}
		script := strings.HasPrefix(string(f.Data), "#!")
		if script != (f.Mode == 0o755) {
			t.Errorf("%s has the mode %o", name, f.Mode)
		}
		program := regexp.MustCompile(`/(bin|hooks|scripts/[a-z-]+|system-generators|postinst\.d|post-update\.d)/`)
		if program.MatchString("/"+inside) && !script {
			t.Errorf("%s names no interpreter", name)
		}
	}
	if len(controls) < 8 {
		t.Errorf("there are only the packages %v", controls)
	}
	for pkg, control := range controls {
		if !strings.HasPrefix(control, "Package: "+pkg+"\nVersion: ") {
			t.Errorf("the directory %s has another package:\n%s", pkg, control)
		}
	}
}
