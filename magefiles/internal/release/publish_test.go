package release

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
	"github.com/cubeos-app/releases/magefiles/internal/release/publish/publishtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

const (
	token  = "token-nobody-may-see"
	commit = "0123456789012345678901234567890123456789"
)

// released is a checkout in which a release of the profile pios has been made,
// and a server that it is published at. Only addresses differ from the profile's.
type released struct {
	*testing.T
	github   *publishtest.GitHub
	options  PublishOptions
	names    artifact.Names
	manifest artifact.Manifest
	env      map[string]string
}

func newReleased(t *testing.T) *released {
	t.Helper()
	g := publishtest.NewGitHub(t.TempDir(), "cubeos-app", "releases", token)
	g.Commits = []string{commit}
	server := httptest.NewTLSServer(g)
	t.Cleanup(server.Close)

	r := &released{T: t, github: g, env: map[string]string{"GITHUB_TOKEN": token}}
	r.options = PublishOptions{
		Workspace: workspace.Workspace{Root: t.TempDir(), Log: progress.New(new(bytes.Buffer))},
		Profile:   "pios", Version: "1.2.3", Transport: server.Client().Transport,
		Getenv: func(name string) string { return r.env[name] },
	}
	if err := os.CopyFS(filepath.Join(r.options.Root, "packer"), os.DirFS("../../../packer")); err != nil {
		t.Fatal(err)
	}
	r.edit(`(?m)^publish_to .*$`, `publish_to = ["`+g.Place(server.URL)+`"]`)
	r.edit(`(?m)^release_url_base .*$`, `release_url_base = "`+server.URL+`/cubeos-app/releases/releases/download/v{version}"`)

	r.names = artifact.NamesFor("cubeos", "1.2.3").In(r.options.BuildDir())
	xz := r.put(r.names.XZ, "image")
	r.put(r.names.Checksum, xz.SHA256+"  "+xz.Name+"\n")
	r.manifest = artifact.Manifest{
		SchemaVersion: artifact.SchemaVersion, Version: "1.2.3", Profile: "pios", Publishable: true,
		Commit: commit, SourceDateEpoch: 1767225600, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		BaseImage:       artifact.BaseImage{URL: "https://example.org/base.img.xz", SHA256: strings.Repeat("ab", 32), InitFormat: "cloudinit-rpi"},
		RecipeDigest:    strings.Repeat("cd", 32),
		ContainerImages: []artifact.ContainerImage{{Name: "api", Reference: "ghcr.io/cubeos-app/api:1", Digest: "sha256:" + strings.Repeat("ef", 32)}},
		DebianPackages:  map[string]string{"adduser": "3.152"},
		PartitionTable:  artifact.PartitionTable{DiskID: "0a1b2c3d", Partitions: []artifact.Partition{{Number: 1, Start: 1 << 20, Size: 1 << 20}}},
		RawImage:        artifact.File{Name: "cubeos-1.2.3-arm64.img", Size: 4 << 20, SHA256: strings.Repeat("12", 32)},
		Compressed:      xz, BlockMap: r.put(r.names.BlockMap, "block map"),
	}
	r.describe()
	r.prove(r.manifest.RawImage.SHA256, boottest.Passed)
	return r
}

func (r *released) put(path, content string) artifact.File {
	r.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	return artifact.File{Name: filepath.Base(path), Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

// edit changes the profile.
func (r *released) edit(pattern, with string) {
	r.Helper()
	path := filepath.Join(r.options.Root, "packer/pios.pkrvars.hcl")
	content, err := os.ReadFile(path)
	if err != nil {
		r.Fatal(err)
	}
	after := regexp.MustCompile(pattern).ReplaceAllLiteral(content, []byte(with))
	if bytes.Equal(content, after) {
		r.Fatalf("%s has no %s", path, pattern)
	}
	r.put(path, string(after))
}

func (r *released) describe() {
	r.Helper()
	if err := r.manifest.Write(r.names.Manifest); err != nil {
		r.Fatal(err)
	}
}

// prove leaves the report of a boot proof.
func (r *released) prove(raw string, status boottest.Status) {
	r.Helper()
	report, err := json.Marshal(boottest.Report{Artifact: "cubeos.img.xz", RawSHA256: raw, Scenarios: []*boottest.Outcome{
		{Scenario: "base", Results: []boottest.Result{{Check: "it boots", Status: status}}},
	}})
	if err != nil {
		r.Fatal(err)
	}
	r.put(filepath.Join(r.options.BuildDir(), "boot/report.json"), string(report))
}

func (r *released) wantRefused(want ...string) {
	r.Helper()
	err := Publish(r.Context(), r.options)
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			r.Errorf("got %v, want %q in it", err, text)
		}
	}
	if all := r.github.Releases(); len(all) != 0 {
		r.Errorf("something was published: %+v", all)
	}
}

func TestPublishWhatReleaseMade(t *testing.T) {
	r := newReleased(t)
	r.options.Check = true
	if err := Publish(t.Context(), r.options); err != nil {
		t.Fatal(err)
	}
	if all := r.github.Releases(); len(all) != 0 {
		t.Errorf("-check published %+v", all)
	}
	r.options.Check = false
	for range 2 {
		if err := Publish(t.Context(), r.options); err != nil {
			t.Fatal(err)
		}
		all := r.github.Releases()
		if len(all) != 1 || all[0].Draft || len(all[0].Files) != 4 || all[0].Files[r.manifest.Compressed.Name] != r.manifest.Compressed.SHA256 {
			t.Errorf("got %+v", all)
		}
	}
	for _, name := range []string{r.names.Manifest, r.names.Checksum, r.names.BlockMap} {
		if r.github.Releases()[0].Files[filepath.Base(name)] == "" {
			t.Errorf("%s is not there", name)
		}
	}
}

func TestPublishRefusesAllAtOnce(t *testing.T) {
	r := newReleased(t)
	r.manifest.Publishable = false
	r.describe()
	r.prove(strings.Repeat("34", 32), boottest.Passed)
	r.env = nil
	r.wantRefused("not publishable", "the boot proof is of another image", "GITHUB_TOKEN is not set")

	r = newReleased(t)
	r.put(r.names.XZ, "another image")
	r.github.ReadOnly = true
	r.wantRefused("the artifacts are not what", r.names.XZ+" has 13 bytes, not 5", "GITHUB_TOKEN may not write")

	r = newReleased(t)
	r.prove(r.manifest.RawImage.SHA256, boottest.Failed)
	r.wantRefused("the boot proof failed")

	r = newReleased(t)
	r.manifest.Profile = "lab"
	r.describe()
	if err := os.RemoveAll(filepath.Join(r.options.BuildDir(), "boot")); err != nil {
		t.Fatal(err)
	}
	r.wantRefused("is of the profile lab, not pios", "it is not known whether the image boots")

	r = newReleased(t)
	r.options.Version = "1.2.4"
	r.wantRefused("`go tool mage release` makes what is published")

	r.options.Profile = "lab"
	r.wantRefused("images of the profile lab are never released")
}

// An entry of Imager's list never has an address at which nothing is published.
func TestTheAddressIsWhereItIsPublished(t *testing.T) {
	r := newReleased(t)
	r.edit(`(?m)^release_url_base .*$`, `release_url_base = "https://example.org/v{version}"`)
	r.wantRefused("on packer/pios.pkrvars.hcl line ", "where publish_to puts them it is https://127.0.0.1:")

	r = newReleased(t)
	r.edit(`(?m)^publish_to .*$`, `publish_to = ["github:cubeos-app/releases", "gitlab:cubeos/releases"]`)
	r.edit(`(?m)^release_url_base .*$`, `release_url_base = "https://gitlab.com/cubeos/releases/-/releases/v{version}/downloads"`)
	r.env = nil
	r.wantRefused("GITHUB_TOKEN is not set", "neither GITLAB_TOKEN")
}

func TestPublishedList(t *testing.T) {
	r := newReleased(t)
	if err := Publish(t.Context(), r.options); err != nil {
		t.Fatal(err)
	}
	content := r.github.Contents("rpi-imager.json")
	if err := imagerlist.Validate(content); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`"name": "CubeOS (64-bit)"`, "/v1.2.3/cubeos-1.2.3-arm64.img.xz", "/v1.2.3/cubeos-1.2.3-arm64.img.bmap", r.manifest.RawImage.SHA256} {
		if !strings.Contains(string(content), want) {
			t.Errorf("%s is not in %s", want, content)
		}
	}
}
