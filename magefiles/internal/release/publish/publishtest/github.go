package publishtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// GitHub answers as a GitHub Enterprise server of one repository does: its API is
// at /api/v3/ and /api/uploads/. As documented at docs.github.com/en/rest in the
// version of 2022-11-28; what an interrupted upload leaves is in "Upload a release
// asset".
type GitHub struct {
	store
	Owner, Repository string
	Token             string   // of whoever may write
	Commits           []string // that have been pushed
	Tags              map[string]string
	Private, Archived bool
	ReadOnly          bool // Token may not write
	NoDigests         bool // as servers before 3.18

	releases []*githubRelease
	contents map[string][]byte // of the default branch, by path
	mux      *http.ServeMux
}

type githubRelease struct {
	ID         int64  `json:"id"`
	TagName    string `json:"tag_name"`
	Target     string `json:"target_commitish"`
	Name       string `json:"name"`
	Body       string `json:"body"`
	Draft      bool   `json:"draft"`
	Prerelease bool   `json:"prerelease"`
	MakeLatest string `json:"make_latest,omitempty"`
	UploadURL  string `json:"upload_url"`

	Created   time.Time  `json:"created_at"`
	Published *time.Time `json:"published_at"`
	assets    []*blob
}

// NewGitHub returns a server whose files are kept in dir.
func NewGitHub(dir, owner, repository, token string) *GitHub {
	g := &GitHub{
		store: store{dir: dir}, Owner: owner, Repository: repository, Token: token,
		Tags: map[string]string{}, contents: map[string][]byte{}, mux: http.NewServeMux(),
	}
	repo := "/api/v3/repos/" + owner + "/" + repository
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET " + repo:                                 g.repository,
		"GET " + repo + "/commits/{ref...}":           g.commit,
		"GET " + repo + "/releases":                   g.list,
		"POST " + repo + "/releases":                  g.writing(g.create),
		"PATCH " + repo + "/releases/{id}":            g.writing(g.update),
		"GET " + repo + "/releases/{id}/{asset}":      g.assets,
		"DELETE " + repo + "/releases/assets/{asset}": g.writing(g.deleteAsset),
		"GET " + repo + "/contents/{path...}":         g.getContents,
		"PUT " + repo + "/contents/{path...}":         g.writing(g.putContents),

		"POST /api/uploads/repos/" + owner + "/" + repository + "/releases/{id}/assets": g.writing(g.upload),

		"GET /" + owner + "/" + repository + "/releases/download/{tag}/{name}": g.download,
		"GET /" + owner + "/" + repository + "/raw/HEAD/{path...}":             g.raw,
		"GET /storage/{id}": g.storage,
	} {
		g.mux.HandleFunc(pattern, handler)
	}
	return g
}

// Place is how a recipe names the repository at the address of the server.
func (g *GitHub) Place(server string) string {
	return "github:" + server + "/" + g.Owner + "/" + g.Repository
}

func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.Intercept != nil && g.Intercept(w, r) {
		return
	}
	if auth := r.Header.Get("Authorization"); auth != "" && auth != "Bearer "+g.Token && strings.HasPrefix(r.URL.Path, "/api/") {
		message(w, http.StatusUnauthorized, "Bad credentials")
		return
	}
	g.mux.ServeHTTP(w, r)
}

// pushes says whether a request is of somebody who may write.
func (g *GitHub) pushes(r *http.Request) bool {
	return r.Header.Get("Authorization") == "Bearer "+g.Token && !g.ReadOnly
}

func (g *GitHub) writing(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !g.pushes(r) {
			message(w, http.StatusForbidden, "Resource not accessible by personal access token")
			return
		}
		handler(w, r)
	}
}

func (g *GitHub) repository(w http.ResponseWriter, r *http.Request) {
	if g.Private && r.Header.Get("Authorization") == "" {
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	answer := map[string]any{"name": g.Repository, "private": g.Private, "archived": g.Archived, "default_branch": "main"}
	if r.Header.Get("Authorization") != "" {
		answer["permissions"] = map[string]bool{"pull": true, "push": g.pushes(r)}
	}
	reply(w, http.StatusOK, answer)
}

func (g *GitHub) commit(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ref := r.PathValue("ref")
	sha := ref
	if tag, ok := strings.CutPrefix(ref, "tags/"); ok {
		sha = g.Tags[tag]
	}
	if !slices.Contains(g.Commits, sha) {
		message(w, http.StatusUnprocessableEntity, "No commit found for SHA: %s", ref)
		return
	}
	_, _ = fmt.Fprint(w, sha)
}

func (g *GitHub) list(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var seen []*githubRelease
	for _, rel := range slices.Backward(g.releases) { // the newest first
		if !rel.Draft || g.pushes(r) {
			seen = append(seen, rel)
		}
	}
	some, number, pages := page(r, seen)
	link(w, r, number, pages)
	reply(w, http.StatusOK, some)
}

func link(w http.ResponseWriter, r *http.Request, number, pages int) {
	if number < pages {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?page=%d>; rel="next", <%s%s?page=%d>; rel="last"`, base(r), r.URL.Path, number+1, base(r), r.URL.Path, pages))
	}
}

// fill changes a release to what a request says, and publishes it if that is
// part of it.
func (g *GitHub) fill(w http.ResponseWriter, r *http.Request, rel *githubRelease) bool {
	wasDraft, tag := rel.Draft, rel.TagName
	if err := json.NewDecoder(r.Body).Decode(rel); err != nil {
		message(w, http.StatusBadRequest, "Problems parsing JSON")
		return false
	}
	rel.UploadURL = fmt.Sprintf("%s/api/uploads/repos/%s/%s/releases/%d/assets{?name,label}", base(r), g.Owner, g.Repository, rel.ID)
	if rel.Draft {
		return true
	}
	taken := slices.ContainsFunc(g.releases, func(other *githubRelease) bool {
		return other != rel && !other.Draft && other.TagName == rel.TagName
	})
	if taken {
		rel.Draft, rel.TagName = wasDraft, tag
		invalid(w, "Release", "already_exists", "tag_name")
		return false
	}
	if g.Tags[rel.TagName] == "" {
		if !slices.Contains(g.Commits, rel.Target) {
			rel.Draft = wasDraft
			invalid(w, "Release", "invalid", "target_commitish")
			return false
		}
		g.Tags[rel.TagName] = rel.Target
	}
	if rel.Published == nil {
		rel.Published = new(time.Now())
	}
	return true
}

func invalid(w http.ResponseWriter, resource, code, field string) {
	reply(w, http.StatusUnprocessableEntity, map[string]any{
		"message": "Validation Failed", "errors": []map[string]string{{"resource": resource, "code": code, "field": field}},
	})
}

func (g *GitHub) create(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rel := &githubRelease{ID: g.number(), Created: time.Now()}
	if g.fill(w, r, rel) {
		g.releases = append(g.releases, rel)
		reply(w, http.StatusCreated, rel)
	}
}

// release finds the one a request is about. The caller holds mu.
func (g *GitHub) release(w http.ResponseWriter, r *http.Request) *githubRelease {
	for _, rel := range g.releases {
		if fmt.Sprint(rel.ID) == r.PathValue("id") && (!rel.Draft || g.pushes(r)) {
			return rel
		}
	}
	message(w, http.StatusNotFound, "Not Found")
	return nil
}

func (g *GitHub) update(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rel := g.release(w, r); rel != nil && g.fill(w, r, rel) {
		reply(w, http.StatusOK, rel)
	}
}
