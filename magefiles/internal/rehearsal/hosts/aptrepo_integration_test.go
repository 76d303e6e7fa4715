//go:build integration

package hosts

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// TestDockerRepository reads the repository with the programs that apt is made of.
func TestDockerRepository(t *testing.T) {
	dir := t.TempDir()
	fingerprint, err := DockerRepository(t.Context(), dir, "trixie", "http://deb.debian.org/debian")
	if err != nil {
		t.Fatal(err)
	}
	keyring := filepath.Join(dir, "keyring.gpg")
	if err := process.Run(t.Context(), "gpg", "--batch", "--homedir", t.TempDir(), "--dearmor", "--output", keyring, filepath.Join(dir, "gpg")); err != nil {
		t.Fatal(err)
	}
	dist := filepath.Join(dir, "dists/trixie")
	seen, err := process.Output(t.Context(), "gpgv", "--keyring", keyring, "--status-fd", "1", "--output", filepath.Join(dir, "Release"), filepath.Join(dist, "InRelease"))
	if err != nil || !strings.Contains(seen, "VALIDSIG "+fingerprint) {
		t.Fatalf("the signature: %v\n%s", err, seen)
	}
	packages, err := os.ReadFile(filepath.Join(dist, "stable/binary-arm64/Packages"))
	if err != nil {
		t.Fatal(err)
	}
	release, err := os.ReadFile(filepath.Join(dir, "Release"))
	if err != nil || !strings.Contains(string(release), fmt.Sprintf("%x %d stable/binary-arm64/Packages", sha256.Sum256(packages), len(packages))) {
		t.Errorf("the release does not name its list: %v\n%s", err, release)
	}
	for _, p := range dockerPackages() {
		deb := filepath.Join(dist, "pool/stable/arm64", p[0]+"_29.0.0_arm64.deb")
		said, err := process.Output(t.Context(), "dpkg-deb", "--field", deb, "Package", "Version", "Conflicts")
		if want := "Package: " + p[0] + "\nVersion: " + dockerVersion; err != nil || said != want {
			t.Errorf("%s says %q, %v; want %q", p[0], said, err, want)
		}
		raw, err := os.ReadFile(deb)
		if err != nil || !strings.Contains(string(packages), fmt.Sprintf("SHA256: %x\n", sha256.Sum256(raw))) {
			t.Errorf("the list does not have the digest of %s: %v", deb, err)
		}
	}
}
