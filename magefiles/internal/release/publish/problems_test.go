package publish

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// refused wants nothing to be changed, and all of the texts in the error.
func (w *world) refused(r Release, want ...string) {
	w.Helper()
	err := w.publish(w.Context(), w.options(), r, nil)
	for _, text := range want {
		if err == nil || !strings.Contains(err.Error(), text) {
			w.Errorf("got %v, want %q in it", err, text)
		}
	}
	if n := w.changes.Load(); n != 0 {
		w.Errorf("%d requests changed something", n)
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	w := newGitHubWorld(t)
	w.github.ReadOnly, w.github.Private = true, true
	w.github.Tags["v1.2.3"] = strings.Repeat("f", 40)
	w.github.Commits = append(w.github.Commits, strings.Repeat("f", 40))
	o := w.options()
	o.Places = append(o.Places, Place{GitLab, "https://gitlab.com", "cubeos/releases"})
	err := w.publish(t.Context(), o, w.newRelease("1.2.3+g0123"), errors.New("the boot proof failed"))
	for _, want := range []string{
		"the boot proof failed", "is of a commit, not of a tag", "GITHUB_TOKEN may not write", "is private",
		"gitlab:cubeos/releases: neither GITLAB_TOKEN nor, in a job, CI_JOB_TOKEN is set",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	w.refused(w.newRelease("1.2.3"), "the tag v1.2.3 is at commit ffff", "GITHUB_TOKEN may not write", "is private")
}

func TestTokens(t *testing.T) {
	for name, tt := range map[string]struct {
		world func(*testing.T) *world
		env   map[string]string
		want  string
	}{
		"GitHub, none":             {newGitHubWorld, nil, "GITHUB_TOKEN is not set"},
		"GitHub, wrong":            {newGitHubWorld, map[string]string{tokenGitHub: "wrong"}, "GITHUB_TOKEN is refused"},
		"GitLab, none":             {newGitLabWorld, nil, "neither GITLAB_TOKEN"},
		"GitLab, wrong":            {newGitLabWorld, map[string]string{tokenGitLab: "wrong"}, "GITLAB_TOKEN is refused"},
		"GitLab, wrong of a job":   {newJobWorld, map[string]string{tokenOfJob: "wrong"}, "CI_JOB_TOKEN is refused"},
		"GitLab, of another's job": {newGitLabWorld, map[string]string{tokenOfJob: jobToken, serverOfJob: "https://gitlab.com"}, `CI_JOB_TOKEN is of another server, "https://gitlab.com"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := tt.world(t)
			server := w.env[serverOfJob]
			w.env = map[string]string{serverOfJob: server}
			maps.Copy(w.env, tt.env)
			w.refused(w.newRelease("1.2.3"), tt.want)
		})
	}
	w := newGitLabWorld(t)
	w.gitlab.AccessLevel = 20
	w.refused(w.newRelease("1.2.3"), "GITLAB_TOKEN may not write to it")
}

func TestPlacesThatCanNotTakeIt(t *testing.T) {
	eachKind(t, func(w *world) {
		if w.github != nil {
			w.github.Commits = nil
		} else {
			w.gitlab.Commits = nil
		}
		r := w.newRelease("1.2.3")
		if err := os.Truncate(r.Files[0].Path, gitLabLimit); err != nil { // a hole
			w.Fatal(err)
		}
		w.refused(r, "the commit "+commit+" that the image was made from is not there", r.Files[0].Name+" has 5GiB")
	})
	w := newGitHubWorld(t)
	r := w.newRelease("1.2.3")
	if err := os.Truncate(r.Files[0].Path, artifact.GitHubAssetLimit); err != nil {
		t.Fatal(err)
	}
	w.refused(r, r.Files[0].Name+" has 2GiB")

	w = newGitHubWorld(t)
	w.github.Archived = true
	w.github.Put(Stable.File(), "{")
	w.github.Put(Beta.File(), `{"os_list": [{"name": "x", "description": "y", "subitems_url": "PLACEHOLDER"}]}`)
	w.refused(w.newRelease("1.2.3"), "is archived", "rpi-imager.json of github:", "is not valid; correct it", "rpi-imager-beta.json of github:", "is a placeholder")

	w = newGitHubWorld(t)
	o := w.options()
	o.Places = nil
	if err := w.publish(t.Context(), o, w.newRelease("1.2.3"), nil); err == nil || !strings.Contains(err.Error(), "no place") {
		t.Errorf("got %v", err)
	}
	w.place.Path = "cubeos-app/gone"
	w.refused(w.newRelease("1.2.3"), "there is no such repository, or GITHUB_TOKEN may not see it")
	w = newGitLabWorld(t)
	w.place.Path = "cubeos/gone"
	w.refused(w.newRelease("1.2.3"), "there is no such project")
}

func TestABranchThatIsProtected(t *testing.T) {
	w := newGitHubWorld(t)
	w.github.Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		rw.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(rw, `{"message": "Could not create file: Changes must be made through a pull request."}`)
		return true
	}
	r := w.newRelease("1.2.3")
	err := w.publish(t.Context(), w.options(), r, nil)
	if err == nil || !strings.Contains(err.Error(), "through a pull request") || !strings.Contains(err.Error(), "the default branch has to let") {
		t.Errorf("got %v", err)
	}
	w.github.Intercept = nil
	w.mustPublish(r)
	w.wantPublished(r)
}

func TestACertificateOfNobody(t *testing.T) {
	w := newGitHubWorld(t)
	w.transport = &http.Transport{}
	w.refused(w.newRelease("1.2.3"), "certificate")
	if len(w.waited) != 0 {
		t.Errorf("it was tried again after %v", w.waited)
	}
}

func TestAnothersFilesAreNotPublished(t *testing.T) {
	eachKind(t, func(w *world) {
		r := w.newRelease("1.2.3")
		// A release with one file more ends before anything is visible.
		more := r
		extra := w.otherwise(File{File: artifact.File{Name: "notes.txt"}})
		more.Files = append([]File{extra}, r.Files...)
		stop := w.otherwise(File{File: artifact.File{Name: "gone"}})
		if err := os.Remove(stop.Path); err != nil {
			w.Fatal(err)
		}
		more.Files = append(more.Files, stop)
		p, err := Prepare(w.Context(), w.options(), r, nil)
		if err != nil {
			w.Fatal(err)
		}
		p.r = more
		for _, j := range p.jobs {
			if err := p.upload(w.Context(), j); err == nil {
				w.Fatal("it was published")
			}
		}
		w.changes.Store(0)
		w.refused(r, "notes.txt is no file of this release", "remove them there")
	})
}

// Uploads are not kept in memory by any of the clients.
func TestMemoryStaysFlat(t *testing.T) {
	const size = 64 << 20
	for name, newWorld := range servers {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.newRelease("1.2.3")
			if err := os.Truncate(r.Files[0].Path, size); err != nil {
				t.Fatal(err)
			}
			r.Files[0].Size = size
			file, err := os.Open(r.Files[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			measured, err := digest(func(to io.Writer) error {
				_, err := io.Copy(to, file)
				return errors.Join(err, file.Close())
			})
			if err != nil {
				t.Fatal(err)
			}
			r.Files[0].SHA256 = measured.SHA256
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w.mustPublish(r)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > size/2 {
				t.Errorf("%d bytes were allocated for a file of %d", got, size)
			}
		})
	}
}

func TestChannels(t *testing.T) {
	eachKind(t, func(w *world) {
		url := func(version string) string {
			if version == "" {
				return ""
			}
			return w.place.download(version, fmt.Sprintf("cubeos-%s-arm64.img.xz", version))
		}
		for _, step := range []struct{ publish, stable, beta string }{
			{"1.2.3-rc.1", "", "1.2.3-rc.1"},
			{"1.2.3", "1.2.3", "1.2.3"},
			{"1.3.0-rc.1", "1.2.3", "1.3.0-rc.1"},
			{"1.2.4", "1.2.4", "1.3.0-rc.1"}, // older than what beta offers
			{"1.1.9", "1.2.4", "1.3.0-rc.1"}, // for an old line
			{"1.3.0", "1.3.0", "1.3.0"},
			{"1.10.0", "1.10.0", "1.10.0"},
		} {
			r := w.newRelease(step.publish)
			w.mustPublish(r)
			if !w.complete(r) {
				w.Errorf("%s is not there", step.publish)
			}
			if got := w.listed(Stable); got != url(step.stable) {
				w.Errorf("after %s, stable offers %s", step.publish, got)
			}
			if got := w.listed(Beta); got != url(step.beta) {
				w.Errorf("after %s, beta offers %s", step.publish, got)
			}
		}
		notes := map[string]string{}
		for _, rel := range w.releases() {
			notes[rel.Tag] = rel.Notes
		}
		for tag, want := range map[string]string{
			"v1.2.3-rc.1": "Made from commit " + commit + ".",
			"v1.2.3":      "Made from commit " + commit + ".", // of the releases, it is the first
			"v1.3.0-rc.1": "has changed since 1.2.3:",
			"v1.2.4":      "has changed since 1.2.3:",
			"v1.1.9":      "Made from commit " + commit + ".",
			"v1.3.0":      "has changed since 1.2.4:",
			"v1.10.0":     "has changed since 1.3.0:",
		} {
			if !strings.Contains(notes[tag], want) {
				w.Errorf("the notes of %s: %s", tag, notes[tag])
			}
		}
	})
}

// A release that somebody made by hand, or that was damaged, is no reason not to
// publish the next one.
func TestAReleaseBeforeWithoutManifest(t *testing.T) {
	eachKind(t, func(w *world) {
		old := w.newRelease("1.2.1")
		old.Files = old.Files[:3]
		w.mustPublish(old)
		broken := w.newRelease("1.2.2")
		broken.Files[3] = w.otherwise(broken.Files[3])
		for _, r := range []Release{broken, w.newRelease("1.2.3")} {
			w.mustPublish(r)
			all := w.releases()
			if notes := all[len(all)-1].Notes; !strings.Contains(notes, "Made from commit "+commit+".") {
				w.Errorf("the notes of %s: %s", r.Version, notes)
			}
		}
		for _, want := range []string{"what v1.2.1 holds can not be read", "what v1.2.2 holds can not be read"} {
			if !strings.Contains(w.log.String(), want) {
				w.Errorf("%q is not in %s", want, w.log.String())
			}
		}
	})
}

// The list is somebody else's, too.
func TestOtherEntriesOfAListStay(t *testing.T) {
	w := newGitHubWorld(t)
	other := `{"name": "Other", "description": "kept", "subitems": []}`
	w.github.Put(Stable.File(), `{"os_list": [`+other+`]}`)
	once := false
	w.github.Intercept = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/"+Stable.File()) && !once {
			once = true // somebody pushes between the reading and the writing
			w.github.Put(Stable.File(), `{"os_list": [`+other+`, `+strings.Replace(other, "Other", "Newer", 1)+`]}`)
		}
		return false
	}
	r := w.newRelease("1.2.3")
	w.mustPublish(r)
	w.wantPublished(r)
	content, _ := w.get(w.place.Server + "/cubeos-app/releases/raw/HEAD/rpi-imager.json")
	for _, want := range []string{`"Other"`, `"Newer"`} {
		if !strings.Contains(string(content), want) {
			t.Errorf("%s is gone: %s", want, content)
		}
	}
}
