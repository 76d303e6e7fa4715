package publishtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// GitLab answers as a GitLab server of one public project does. As documented at
// docs.gitlab.com/api: projects, tags, packages, generic_packages and releases. A
// token of a job reaches only the last three; everywhere else it is nobody's.
type GitLab struct {
	store
	Project         string // GROUP/PROJECT
	Token, JobToken string
	AccessLevel     int // of Token: 30 is a Developer's, 40 a Maintainer's
	Commits         []string
	Tags            map[string]string

	packages []*gitlabPackage
	releases []*gitlabRelease
	mux      *http.ServeMux
}

type gitlabPackage struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Type    string `json:"package_type"`
	files   []*blob
}

type gitlabRelease struct {
	TagName     string    `json:"tag_name"`
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Ref         string    `json:"ref,omitempty"`
	Released    time.Time `json:"released_at"`
	Assets      struct {
		Links []gitlabLink `json:"links"`
	} `json:"assets"`
}

type gitlabLink struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	Path string `json:"direct_asset_path"`
}

// NewGitLab returns a server whose files are kept in dir.
func NewGitLab(dir, project, token, jobToken string) *GitLab {
	g := &GitLab{
		store: store{dir: dir}, Project: project, Token: token, JobToken: jobToken, AccessLevel: 40,
		Tags: map[string]string{}, mux: http.NewServeMux(),
	}
	for pattern, handler := range map[string]http.HandlerFunc{
		"GET /api/v4/projects/{project}":                                          g.project,
		"GET /api/v4/projects/{project}/repository/tags/{tag}":                    g.tag,
		"GET /api/v4/projects/{project}/repository/commits/{sha}":                 g.commit,
		"GET /api/v4/projects/{project}/packages":                                 g.listPackages,
		"GET /api/v4/projects/{project}/packages/{id}/package_files":              g.listFiles,
		"DELETE /api/v4/projects/{project}/packages/{id}/package_files/{file}":    g.writing(40, g.deleteFile),
		"PUT /api/v4/projects/{project}/packages/generic/{name}/{version}/{file}": g.writing(30, g.put),
		"GET /api/v4/projects/{project}/packages/generic/{name}/{version}/{file}": g.get,
		"GET /api/v4/projects/{project}/releases":                                 g.listReleases,
		"POST /api/v4/projects/{project}/releases":                                g.writing(30, g.createRelease),
		"GET /" + project + "/-/releases/{tag}/downloads/{path...}":               g.download,
		"GET /storage/{id}": g.storage,
	} {
		g.mux.HandleFunc(pattern, handler)
	}
	return g
}

// Place is how a recipe names the project at the address of the server.
func (g *GitLab) Place(server string) string { return "gitlab:" + server + "/" + g.Project }

func (g *GitLab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.Intercept != nil && g.Intercept(w, r) {
		return
	}
	wrong := func(header, token string) bool { v := r.Header.Get(header); return v != "" && v != token }
	if wrong("Private-Token", g.Token) || wrong("Job-Token", g.JobToken) && forJobs(r) {
		message(w, http.StatusUnauthorized, "401 Unauthorized")
		return
	}
	g.mux.ServeHTTP(w, r)
}

// forJobs says whether a request is one that a job's token is for.
func forJobs(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/packages") || strings.Contains(r.URL.Path, "/releases")
}

// level is the access level of whoever makes the request.
func (g *GitLab) level(r *http.Request) int {
	if r.Header.Get("Private-Token") != "" || r.Header.Get("Job-Token") != "" && forJobs(r) {
		return g.AccessLevel
	}
	return 0
}

func (g *GitLab) writing(level int, handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch has := g.level(r); {
		case has == 0:
			message(w, http.StatusUnauthorized, "401 Unauthorized")
		case has < level:
			message(w, http.StatusForbidden, "403 Forbidden")
		case !g.known(r):
			notFound(w, "Project")
		default:
			handler(w, r)
		}
	}
}

func (g *GitLab) known(r *http.Request) bool { return r.PathValue("project") == g.Project }

func notFound(w http.ResponseWriter, what string) {
	message(w, http.StatusNotFound, "404 %s Not Found", what)
}

func (g *GitLab) project(w http.ResponseWriter, r *http.Request) {
	if !g.known(r) {
		notFound(w, "Project")
		return
	}
	answer := map[string]any{"id": 1, "path_with_namespace": g.Project, "visibility": "public"}
	if level := g.level(r); level > 0 {
		answer["permissions"] = map[string]any{"project_access": nil, "group_access": map[string]int{"access_level": level}}
	}
	reply(w, http.StatusOK, answer)
}

func (g *GitLab) tag(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	commit, ok := g.Tags[r.PathValue("tag")]
	if !ok {
		notFound(w, "Tag")
		return
	}
	reply(w, http.StatusOK, map[string]any{"name": r.PathValue("tag"), "commit": map[string]string{"id": commit}})
}

func (g *GitLab) commit(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(g.Commits, r.PathValue("sha")) {
		notFound(w, "Commit")
		return
	}
	reply(w, http.StatusOK, map[string]string{"id": r.PathValue("sha")})
}

func next(w http.ResponseWriter, number, pages int) {
	if number < pages {
		w.Header().Set("X-Next-Page", strconv.Itoa(number+1))
	}
}

// listPackages searches for the name, as GitLab does.
func (g *GitLab) listPackages(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := r.URL.Query()
	found := []*gitlabPackage{}
	for _, p := range g.packages {
		if strings.Contains(p.Name, q.Get("package_name")) && (q.Get("package_version") == "" || p.Version == q.Get("package_version")) {
			found = append(found, p)
		}
	}
	some, number, pages := page(r, found)
	next(w, number, pages)
	reply(w, http.StatusOK, some)
}

// find finds the package a request is about. The caller holds mu.
func (g *GitLab) find(is func(*gitlabPackage) bool) *gitlabPackage {
	if at := slices.IndexFunc(g.packages, is); at >= 0 {
		return g.packages[at]
	}
	return nil
}

func byID(r *http.Request) func(*gitlabPackage) bool {
	return func(p *gitlabPackage) bool { return fmt.Sprint(p.ID) == r.PathValue("id") }
}

func byName(r *http.Request) func(*gitlabPackage) bool {
	return func(p *gitlabPackage) bool {
		return p.Name == r.PathValue("name") && p.Version == r.PathValue("version")
	}
}

func (g *GitLab) listFiles(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.find(byID(r))
	if p == nil {
		notFound(w, "Package")
		return
	}
	some, number, pages := page(r, p.files)
	next(w, number, pages)
	all := []map[string]any{}
	for _, b := range some {
		all = append(all, map[string]any{"id": b.id, "package_id": p.ID, "file_name": b.name, "size": b.size, "file_sha256": b.sha256})
	}
	reply(w, http.StatusOK, all)
}

func (g *GitLab) deleteFile(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.find(byID(r))
	if p == nil {
		notFound(w, "Package")
		return
	}
	p.files = slices.DeleteFunc(p.files, func(b *blob) bool { return fmt.Sprint(b.id) == r.PathValue("file") })
	w.WriteHeader(http.StatusNoContent)
}

// put stores nothing where the body is cut off. A file of the same name stays
// beside the new one.
func (g *GitLab) put(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	b := &blob{id: g.number(), name: r.PathValue("file")}
	g.mu.Unlock()
	if err := g.receive(b, r.Body); err != nil || r.ContentLength < 0 {
		message(w, http.StatusBadRequest, "400 Bad request")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.find(byName(r))
	if p == nil {
		p = &gitlabPackage{ID: g.number(), Name: r.PathValue("name"), Version: r.PathValue("version"), Type: "generic"}
		g.packages = append(g.packages, p)
	}
	p.files = append(p.files, b)
	message(w, http.StatusCreated, "201 Created")
}

func (g *GitLab) get(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.find(byName(r)); p != nil {
		for _, b := range slices.Backward(p.files) {
			if b.name == r.PathValue("file") {
				redirectToStorage(w, r, b.id)
				return
			}
		}
	}
	notFound(w, "Package")
}

func (g *GitLab) listReleases(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	some, number, pages := page(r, g.releases)
	next(w, number, pages)
	reply(w, http.StatusOK, some)
}

func (g *GitLab) createRelease(w http.ResponseWriter, r *http.Request) {
	rel := &gitlabRelease{Released: time.Now()}
	if err := json.NewDecoder(r.Body).Decode(rel); err != nil || rel.TagName == "" {
		message(w, http.StatusBadRequest, "tag_name is missing")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.ContainsFunc(g.releases, func(other *gitlabRelease) bool { return other.TagName == rel.TagName }) {
		message(w, http.StatusConflict, "Release already exists")
		return
	}
	if g.Tags[rel.TagName] == "" {
		if !slices.Contains(g.Commits, rel.Ref) {
			message(w, http.StatusUnprocessableEntity, "Ref is not specified")
			return
		}
		g.Tags[rel.TagName] = rel.Ref
	}
	g.releases = append(g.releases, rel)
	reply(w, http.StatusCreated, rel)
}

func (g *GitLab) download(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rel := range g.releases {
		for _, l := range rel.Assets.Links {
			if rel.TagName == r.PathValue("tag") && l.Path == "/"+r.PathValue("path") {
				http.Redirect(w, r, l.URL, http.StatusFound)
				return
			}
		}
	}
	http.NotFound(w, r)
}
