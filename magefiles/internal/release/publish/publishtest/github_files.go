package publishtest

import (
	"crypto/sha1" //nolint:gosec // git's own
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

func (g *GitHub) asset(b *blob) map[string]any {
	state := "starter"
	if b.whole {
		state = "uploaded"
	}
	answer := map[string]any{"id": b.id, "name": b.name, "state": state, "size": b.size, "digest": nil}
	if b.whole && !g.NoDigests {
		answer["digest"] = "sha256:" + b.sha256
	}
	return answer
}

// assets are at releases/ID/assets, and one of them at releases/assets/ID.
func (g *GitHub) assets(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.PathValue("id") == "assets":
		g.getAsset(w, r)
	case r.PathValue("asset") == "assets":
		g.listAssets(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (g *GitHub) listAssets(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rel := g.release(w, r)
	if rel == nil {
		return
	}
	some, number, pages := page(r, rel.assets)
	link(w, r, number, pages)
	all := []map[string]any{}
	for _, b := range some {
		all = append(all, g.asset(b))
	}
	reply(w, http.StatusOK, all)
}

// findAsset finds the one a request is about. The caller holds mu.
func (g *GitHub) findAsset(r *http.Request) (*githubRelease, *blob) {
	for _, rel := range g.releases {
		for _, b := range rel.assets {
			if fmt.Sprint(b.id) == r.PathValue("asset") && (!rel.Draft || g.pushes(r)) {
				return rel, b
			}
		}
	}
	return nil, nil
}

func (g *GitHub) getAsset(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, b := g.findAsset(r)
	switch {
	case b == nil || !b.whole:
		message(w, http.StatusNotFound, "Not Found")
	case strings.Contains(r.Header.Get("Accept"), "application/octet-stream"):
		redirectToStorage(w, r, b.id)
	default:
		reply(w, http.StatusOK, g.asset(b))
	}
}

func (g *GitHub) deleteAsset(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rel, b := g.findAsset(r)
	if b == nil {
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	rel.assets = slices.DeleteFunc(rel.assets, func(other *blob) bool { return other == b })
	w.WriteHeader(http.StatusNoContent)
}

var special = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// upload leaves an asset in the state starter where the body is cut off.
func (g *GitHub) upload(w http.ResponseWriter, r *http.Request) {
	b, ok := g.startUpload(w, r)
	if !ok {
		return
	}
	if err := g.receive(b, r.Body); err != nil {
		message(w, http.StatusBadGateway, "Server Error")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	reply(w, http.StatusCreated, g.asset(b))
}

func (g *GitHub) startUpload(w http.ResponseWriter, r *http.Request) (*blob, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rel := g.release(w, r)
	if rel == nil {
		return nil, false
	}
	b := &blob{id: g.number(), name: special.ReplaceAllString(r.URL.Query().Get("name"), ".")}
	switch {
	case r.ContentLength <= 0:
		message(w, http.StatusBadRequest, "Bad Content-Length")
	case r.ContentLength >= 2<<30:
		invalid(w, "ReleaseAsset", "custom", "size")
	case slices.ContainsFunc(rel.assets, func(other *blob) bool { return other.name == b.name }):
		invalid(w, "ReleaseAsset", "already_exists", "name")
	default:
		rel.assets = append(rel.assets, b)
		return b, true
	}
	return nil, false
}

func blobSHA(content []byte) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content)) //nolint:gosec // git's own
	return hex.EncodeToString(sum[:])
}

func (g *GitHub) getContents(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	path := r.PathValue("path")
	content, ok := g.contents[path]
	if !ok {
		message(w, http.StatusNotFound, "Not Found")
		return
	}
	reply(w, http.StatusOK, map[string]any{
		"type": "file", "encoding": "base64", "path": path, "size": len(content),
		"content": base64.StdEncoding.EncodeToString(content), "sha": blobSHA(content),
	})
}

func (g *GitHub) putContents(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Message, SHA string
		Content      []byte
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Message == "" {
		message(w, http.StatusUnprocessableEntity, "Invalid request.")
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	path := r.PathValue("path")
	now, ok := g.contents[path]
	switch {
	case ok && body.SHA == "":
		message(w, http.StatusUnprocessableEntity, `Invalid request. "sha" wasn't supplied.`)
		return
	case body.SHA != "" && body.SHA != blobSHA(now):
		message(w, http.StatusConflict, "%s does not match %s", path, body.SHA)
		return
	}
	g.contents[path] = body.Content
	reply(w, http.StatusOK, map[string]any{"content": map[string]string{"path": path, "sha": blobSHA(body.Content)}})
}

func (g *GitHub) download(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, rel := range g.releases {
		if rel.Draft || rel.TagName != r.PathValue("tag") {
			continue
		}
		for _, b := range rel.assets {
			if b.name == r.PathValue("name") && b.whole {
				redirectToStorage(w, r, b.id)
				return
			}
		}
	}
	http.NotFound(w, r)
}

func (g *GitHub) raw(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	content, ok := g.contents[r.PathValue("path")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write(content)
}

// Put makes a file of the default branch, as somebody else's push does.
func (g *GitHub) Put(path, content string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.contents[path] = []byte(content)
}

// Contents is a file of the default branch.
func (g *GitHub) Contents(path string) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.contents[path]
}
