//go:build integration

package embedded

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// The image has to be the same bytes whoever builds it: with a umask that lets
// nobody else in, a checkout made under it, in a directory of blanks and umlauts,
// with temporary files of their own and in a locale where i is not the small I.
func TestTheCallerDoesNotShow(t *testing.T) {
	const result = "CUBEOS_TEST_RESULT"
	if file := os.Getenv(result); file != "" {
		buildForCaller(t, file)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	build := func(umask, dir string, env ...string) string {
		t.Helper()
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "result")
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask "$1"; shift; exec "$@"`, "sh", umask, self, "-test.v", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(append(os.Environ(), result+"="+file, "TMPDIR="+dir), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("umask %s: %v\n%s", umask, err, out)
		}
		sums, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(sums)
	}
	dir := t.TempDir()
	plain := build("022", filepath.Join(dir, "plain"), "LC_ALL=C.UTF-8")
	strange := build("077", filepath.Join(dir, "Prüfstand für I und ı"), "LC_ALL=tr_TR.UTF-8", "LANGUAGE=tr")
	if plain != strange {
		t.Errorf("base image and image are\n%s\nand for another caller\n%s", plain, strange)
	}
}

// buildForCaller begins as the targets do, with a checkout as the caller's git
// would have made it.
func buildForCaller(t *testing.T, result string) {
	umask := unix.Umask(0)
	if err := process.IgnoreCaller(); err != nil {
		t.Fatal(err)
	}
	w := newFixture(t)
	w.write("packer/files/opt/sub/new.conf", "new")
	if err := process.Run(t.Context(), "chmod", "-R", fmt.Sprintf("-%03o", umask), filepath.Join(w.root, "packer")); err != nil {
		t.Fatal(err)
	}
	job, err := w.build(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, w.log.String())
	}
	sum, err := stage.FileDigest(job.Image)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(result, []byte(strings.Join([]string{w.base.SHA256, sum}, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}
