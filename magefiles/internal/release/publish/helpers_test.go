package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
	"github.com/cubeos-app/releases/magefiles/internal/release/publish/publishtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const (
	token    = "token-nobody-may-see"
	jobToken = "job-token-nobody-may-see"
	commit   = "0123456789012345678901234567890123456789"
	imageLen = 256 << 10
)

// world is a server, and somebody who publishes there.
type world struct {
	*testing.T
	github *publishtest.GitHub // or
	gitlab *publishtest.GitLab

	place     Place
	env       map[string]string
	transport http.RoundTripper
	log       bytes.Buffer
	waited    []time.Duration
	changes   atomic.Int64 // requests that are no questions
}

// kinds are all ways of publishing, servers those that differ in more than the
// token.
var (
	kinds   = map[string]func(*testing.T) *world{"GitHub": newGitHubWorld, "GitLab": newGitLabWorld, "GitLab from a job": newJobWorld}
	servers = map[string]func(*testing.T) *world{"GitHub": newGitHubWorld, "GitLab": newGitLabWorld}
)

func eachKind(t *testing.T, do func(*world)) {
	for name, newWorld := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(newWorld(t))
		})
	}
}

func newGitHubWorld(t *testing.T) *world {
	g := publishtest.NewGitHub(t.TempDir(), "cubeos-app", "releases", token)
	g.Commits = []string{commit}
	w := &world{T: t, github: g, env: map[string]string{tokenGitHub: token}}
	w.serve(g, g.Place)
	return w
}

func newGitLabWorld(t *testing.T) *world {
	g := publishtest.NewGitLab(t.TempDir(), "cubeos/os/releases", token, jobToken)
	g.Commits = []string{commit}
	w := &world{T: t, gitlab: g, env: map[string]string{tokenGitLab: token}}
	w.serve(g, g.Place)
	return w
}

func newJobWorld(t *testing.T) *world {
	w := newGitLabWorld(t)
	w.env = map[string]string{tokenOfJob: jobToken, serverOfJob: w.place.Server}
	return w
}

func (w *world) serve(handler http.Handler, place func(string) string) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.changes.Add(1)
		}
		handler.ServeHTTP(rw, r)
	}))
	server.Config.ErrorLog = nil
	server.StartTLS()
	w.Cleanup(server.Close)
	w.transport = server.Client().Transport
	var err error
	if w.place, err = ParsePlace(place(server.URL)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) faults() *publishtest.Faults {
	if w.github != nil {
		return &w.github.Faults
	}
	return &w.gitlab.Faults
}

func (w *world) releases() []publishtest.Release {
	if w.github != nil {
		return w.github.Releases()
	}
	return w.gitlab.Releases("cubeos")
}

func (w *world) options() Options {
	return Options{
		Places: []Place{w.place}, Getenv: func(name string) string { return w.env[name] },
		Transport: w.transport, Log: progress.New(&w.log),
		Wait: func(ctx context.Context, d time.Duration) error {
			w.waited = append(w.waited, d)
			return ctx.Err()
		},
	}
}

// publish does what is asked of this package.
func (w *world) publish(ctx context.Context, o Options, r Release, found error) error {
	w.Helper()
	p, err := Prepare(ctx, o, r, found)
	if err == nil {
		err = p.Run(ctx)
	}
	text := w.log.String()
	if err != nil {
		text += err.Error()
	}
	for _, secret := range []string{token, jobToken} {
		if strings.Contains(text, secret) {
			w.Errorf("a token is shown:\n%s", text)
		}
	}
	return err
}

func (w *world) mustPublish(r Release) {
	w.Helper()
	if err := w.publish(w.Context(), w.options(), r, nil); err != nil {
		w.Fatalf("%v\n%s", err, w.log.String())
	}
}

// get is what a stranger gets.
func (w *world) get(url string) (content []byte, status int) {
	w.Helper()
	resp, err := (&http.Client{Transport: w.transport}).Get(url)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	content, err = io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return content, resp.StatusCode
}

// listed is the address that a channel's list offers, "" if it offers nothing.
func (w *world) listed(c Channel) string {
	w.Helper()
	var s server
	if w.github != nil {
		s = &gitHub{place: w.place}
	} else {
		s = &gitLab{place: w.place}
	}
	content, status := w.get(s.listURL(c))
	if status != http.StatusOK {
		return ""
	}
	if err := imagerlist.Validate(content); err != nil {
		w.Error(err)
	}
	url, err := imagerlist.Offered(content, "CubeOS")
	if err != nil {
		w.Error(err)
	}
	return url
}

// complete says whether all of a release is there for a stranger.
func (w *world) complete(r Release) bool {
	for _, f := range r.Files {
		content, status := w.get(w.place.download(r.Version, f.Name))
		sum := sha256.Sum256(content)
		if status != http.StatusOK || hex.EncodeToString(sum[:]) != f.SHA256 {
			return false
		}
	}
	return true
}

// wantPublished wants a release to be there once, whole, and offered.
func (w *world) wantPublished(r Release) {
	w.Helper()
	if !w.complete(r) {
		w.Error("not all of the release is there")
	}
	for _, c := range channels(r.Version) {
		if got, want := w.listed(c), w.place.download(r.Version, r.Files[0].Name); got != want {
			w.Errorf("the channel %s offers %q, not %q", c, got, want)
		}
	}
	all := w.releases()
	if len(all) != 1 || all[0].Draft || all[0].Times != len(r.Files) || all[0].PreRelease != (w.github != nil && preRelease(r.Version)) {
		w.Errorf("got %+v", all)
	}
	tags := w.tags()
	if tags[r.tag()] != commit {
		w.Errorf("the tag is at %q", tags[r.tag()])
	}
}

func (w *world) tags() map[string]string {
	if w.github != nil {
		return w.github.Tags
	}
	return w.gitlab.Tags
}

// newRelease makes the files of a release.
func (w *world) newRelease(version string) Release {
	w.Helper()
	names := artifact.NamesFor("cubeos", version).In(w.TempDir())
	put := func(path string, content []byte) File {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			w.Fatal(err)
		}
		sum := sha256.Sum256(content)
		return File{artifact.File{Name: filepath.Base(path), Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}, path}
	}
	xz := put(names.XZ, bytes.Repeat([]byte("image "+version), imageLen)[:imageLen])
	blockMap := put(names.BlockMap, []byte("block map of "+version))
	r := Release{
		Name: "cubeos", Version: version,
		Manifest: artifact.Manifest{
			SchemaVersion: artifact.SchemaVersion, Version: version, Profile: "pios", Publishable: true,
			Commit: commit, SourceDateEpoch: 1767225600, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			BaseImage:       artifact.BaseImage{URL: "https://example.org/base.img.xz", SHA256: strings.Repeat("ab", 32), InitFormat: "cloudinit-rpi"},
			RecipeDigest:    strings.Repeat("cd", 32),
			ContainerImages: []artifact.ContainerImage{{Name: "api", Reference: "ghcr.io/cubeos-app/api:" + version, Digest: "sha256:" + strings.Repeat("ef", 32)}},
			DebianPackages:  map[string]string{"adduser": "3.152", "tool": version},
			PartitionTable:  artifact.PartitionTable{DiskID: "0a1b2c3d", Partitions: []artifact.Partition{{Number: 1, Start: 1 << 20, Size: 1 << 20}}},
			RawImage:        artifact.File{Name: names.Base[strings.LastIndex(names.Base, "/")+1:] + ".img", Size: 4 << 20, SHA256: strings.Repeat("12", 32)},
			Compressed:      xz.File, BlockMap: blockMap.File,
		},
		Listing: imagerlist.Listing{
			Name: "CubeOS", Description: "A server", Icon: "https://example.org/icon.png", Devices: []string{"pi5-64bit"},
			URL: w.place.download(version, xz.Name), BlockMapURL: w.place.download(version, blockMap.Name),
		},
	}
	manifest, err := json.Marshal(r.Manifest)
	if err != nil {
		w.Fatal(err)
	}
	r.Files = []File{xz, blockMap, put(names.Checksum, []byte(xz.SHA256+"  "+xz.Name+"\n")), put(names.Manifest, manifest)}
	return r
}

// otherwise returns a file of the same name with other contents.
func (w *world) otherwise(f File) File {
	w.Helper()
	content := []byte("another " + f.Name)
	sum := sha256.Sum256(content)
	path := filepath.Join(w.TempDir(), f.Name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		w.Fatal(err)
	}
	return File{artifact.File{Name: f.Name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}, path}
}
