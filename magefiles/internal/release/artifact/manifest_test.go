package artifact

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func manifestFor(r Result) Manifest {
	return Manifest{
		SchemaVersion: SchemaVersion, Version: "1.2.3", Profile: "lab",
		Commit: strings.Repeat("0123456789", 4), SourceDateEpoch: 1767225600, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		BaseImage:       BaseImage{URL: "https://example.org/base.img.xz", SHA256: strings.Repeat("ab", 32), InitFormat: "cloudinit-rpi"},
		RecipeDigest:    strings.Repeat("cd", 32),
		ContainerImages: []ContainerImage{{"api", "ghcr.io/cubeos-app/api:1.0.0", "sha256:" + strings.Repeat("ef", 32)}},
		DebianPackages:  map[string]string{"adduser": "3.152", "libc6:armhf": "2.41-12"},
		PartitionTable: PartitionTable{DiskID: "0a1b2c3d", Partitions: []Partition{
			{Number: 1, Type: "c", FileSystem: "vfat", Label: "bootfs", UUID: "1234-ABCD", Start: mib, Size: mib},
			{Number: 2, Type: "83", FileSystem: "ext4", Label: "rootfs", UUID: "7d5b8f5e-8b6f-4a6e-8b1e-4d1f1e0b9c11", Start: 2 * mib, Size: 2 * mib},
		}},
		RawImage: r.Raw, Compressed: r.XZ, BlockMap: r.BlockMap,
	}
}

// finished lays out files such as Finish leaves, and their build manifest.
func finished(t *testing.T) (manifestPath string, m Manifest) {
	t.Helper()
	paths := NamesFor("cubeos-lab", "1.2.3").In(t.TempDir())
	put := func(path string, content []byte) File {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		return File{filepath.Base(path), int64(len(content)), sha256Hex(content)}
	}
	result := Result{
		Raw:      put(paths.Image, bytes.Repeat([]byte("raw image"), 4*mib)[:4*mib]),
		XZ:       put(paths.XZ, bytes.Repeat([]byte("compressed"), mib)),
		BlockMap: put(paths.BlockMap, []byte("block map")),
	}
	put(paths.Checksum, []byte(result.XZ.SHA256+"  "+result.XZ.Name+"\n"))
	m = manifestFor(result)
	if err := m.Write(paths.Manifest); err != nil {
		t.Fatal(err)
	}
	return paths.Manifest, m
}

func TestManifestRoundTripAndVerify(t *testing.T) {
	path, want := finished(t)
	got, err := Verify(t.Context(), path, nil)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); left != nil {
		t.Errorf("left %s", left)
	}
	if err := os.Remove(want.Paths(path).Image); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), path, nil); err != nil {
		t.Errorf("without the raw image: %v", err)
	}
}

func TestVerifyFindsEveryDamage(t *testing.T) {
	path, m := finished(t)
	paths := m.Paths(path)
	flip := func(name string) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flip(paths.XZ)
	flip(paths.Image)
	flip(paths.Checksum)
	if err := os.Truncate(paths.BlockMap, 5); err != nil {
		t.Fatal(err)
	}
	_, err := Verify(t.Context(), path, nil)
	if err == nil {
		t.Fatal("damage was not noticed")
	}
	for _, want := range []string{paths.XZ + " has the SHA-256", paths.Image + " has the SHA-256", paths.BlockMap + " has 5 bytes", paths.Checksum + " says"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := os.Remove(paths.XZ); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

func TestManifestValidate(t *testing.T) {
	_, valid := finished(t)
	for name, tt := range map[string]struct {
		change func(*Manifest)
		want   []string
	}{
		"schema version":          {func(m *Manifest) { m.SchemaVersion = 0 }, []string{"schema_version 0"}},
		"all at once":             {func(m *Manifest) { m.Commit, m.RecipeDigest, m.Created = "main", "", time.Time{} }, []string{`commit "main"`, "recipe_digest", "created"}},
		"no commit":               {func(m *Manifest) { m.Commit, m.Publishable = "", true }, []string{`commit ""`}},
		"no profile":              {func(m *Manifest) { m.Profile = "" }, []string{"profile is missing"}},
		"another version":         {func(m *Manifest) { m.Version = "1.2.4" }, []string{`"cubeos-lab-1.2.3-arm64.img": want NAME-1.2.4-arm64.img`}},
		"no version":              {func(m *Manifest) { m.Version = "main" }, []string{`version "main"`}},
		"placeholder sum":         {func(m *Manifest) { m.RawImage.SHA256 = "PLACEHOLDER" }, []string{`raw_image: "PLACEHOLDER"`}},
		"zero sum":                {func(m *Manifest) { m.Compressed.SHA256 = strings.Repeat("0", 64) }, []string{"compressed_image: "}},
		"sectors":                 {func(m *Manifest) { m.RawImage.Size++ }, []string{"multiple of 512"}},
		"another's file":          {func(m *Manifest) { m.Compressed.Name = "../other.img.xz" }, []string{"../other.img.xz"}},
		"no images":               {func(m *Manifest) { m.ContainerImages = nil }, []string{"container_images is empty"}},
		"no packages":             {func(m *Manifest) { m.DebianPackages = nil }, []string{"debian_packages is empty"}},
		"no version of a package": {func(m *Manifest) { m.DebianPackages = map[string]string{"adduser": ""} }, []string{`package "adduser" of version ""`}},
		"image by tag":            {func(m *Manifest) { m.ContainerImages = []ContainerImage{{"a", "b:latest", "latest"}} }, []string{`"latest" is no digest`}},
		"partitions overlap": {func(m *Manifest) {
			m.PartitionTable.Partitions = []Partition{{Number: 1, Start: mib, Size: mib}, {Number: 2, Start: mib, Size: mib}}
		}, []string{"partition 2"}},
		"partition too long": {func(m *Manifest) { m.PartitionTable.Partitions = []Partition{{Number: 1, Start: mib, Size: 4 * mib}} }, []string{"partition 1"}},
		"no URL":             {func(m *Manifest) { m.BaseImage.URL = "base.img.xz" }, []string{"base_image url"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := valid
			tt.change(&m)
			err := m.Write(filepath.Join(t.TempDir(), "m.json"))
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestReadManifestRefuses(t *testing.T) {
	_, m := finished(t)
	good, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ content, want string }{
		"no JSON":       {"{", "unexpected EOF"},
		"unknown field": {strings.Replace(string(good), `"version"`, `"colour":1,"version"`, 1), "colour"},
		"a newer one":   {`{"schema_version": 3, "new": true}`, "newer program"},
		"not valid":     {`{"schema_version": 2}`, "is not valid"},
		"two":           {string(good) + "{}", "more after it"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "m.json")
			if err := os.WriteFile(path, []byte(tt.content), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadManifest(path); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := ReadManifest(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "mage compress") {
		t.Errorf("got %v", err)
	}
}

func TestCheckAssets(t *testing.T) {
	small, large := sparseImage(t, GitHubAssetLimit-512), sparseImage(t, GitHubAssetLimit)
	if err := CheckAssets(GitHubAssetLimit, small); err != nil {
		t.Error(err)
	}
	err := CheckAssets(GitHubAssetLimit, small, large, "/no/such")
	if err == nil || !strings.Contains(err.Error(), "2GiB") || !strings.Contains(err.Error(), "/no/such") {
		t.Errorf("got %v", err)
	}
}
