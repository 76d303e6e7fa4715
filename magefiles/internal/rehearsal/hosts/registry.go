package hosts

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Registry is a registry as Docker Hub and GHCR are to a stranger: nothing without a
// token, which is given for one repository and for reading only; too many requests
// are turned away for a while; and once a connection breaks off in the middle of a
// layer. Whoever fills it comes in by Fill.
type Registry struct {
	Fill http.Handler // without any of that

	mu     sync.Mutex
	tokens map[string]string // of which repository
	asked  map[string]bool   // manifests that were asked for
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{
		Fill:   registry.New(registry.Logger(log.New(io.Discard, "", 0))),
		tokens: map[string]string{}, asked: map[string]bool{},
	}
}

// Strangers is the registry as the outside finds it.
func (r *Registry) Strangers() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", r.token)
	mux.Handle("/v2/", &cut{next: http.HandlerFunc(r.serve), which: func(req *http.Request) bool {
		return req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/") && req.Header.Get("Range") == ""
	}})
	return mux
}

// token gives a token for what its scope names, as repository:NAME:pull.
func (r *Registry) token(w http.ResponseWriter, req *http.Request) {
	kind, rest, _ := strings.Cut(req.URL.Query().Get("scope"), ":")
	repository, actions, _ := strings.Cut(rest, ":")
	if kind != "repository" || repository == "" || actions != "pull" {
		http.Error(w, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`, http.StatusForbidden)
		return
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	token := hex.EncodeToString(random)
	r.mu.Lock()
	r.tokens[token] = repository
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300})
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	repository := repositoryOf(req.URL.Path)
	token, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	r.mu.Lock()
	granted, known := r.tokens[token]
	key := req.Method + req.URL.Path
	again := r.asked[key]
	if known {
		r.asked[key] = true
	}
	r.mu.Unlock()
	switch {
	case !known || repository != "" && granted != repository:
		challenge := fmt.Sprintf(`Bearer realm="https://%s/token",service="registry.rehearsal"`, req.Host)
		if repository != "" {
			challenge += fmt.Sprintf(`,scope="repository:%s:pull"`, repository)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
	case strings.Contains(req.URL.Path, "/manifests/") && !again:
		w.Header().Set("Retry-After", "1")
		http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 1s, allowed: 1/minute"}]}`, http.StatusTooManyRequests)
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		http.Error(w, `{"errors":[{"code":"DENIED","message":"the token is for reading"}]}`, http.StatusForbidden)
	default:
		r.Fill.ServeHTTP(w, req)
	}
}

// repositoryOf is NAME of /v2/NAME/manifests/… and the like.
func repositoryOf(path string) string {
	path = strings.TrimPrefix(path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if name, _, found := strings.Cut(path, part); found {
			return name
		}
	}
	return ""
}
