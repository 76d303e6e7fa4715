package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// npmAPI answers as version 2.14 of Nginx Proxy Manager does, its errors included.
type npmAPI struct{ store *npmStore }

func newNPMAPI(store *npmStore) http.Handler {
	a := npmAPI{store}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.health)
	mux.HandleFunc("POST /tokens", a.logIn)
	mux.HandleFunc("GET /nginx/proxy-hosts", a.authorised(a.list))
	mux.HandleFunc("POST /nginx/proxy-hosts", a.authorised(a.create))
	mux.HandleFunc("DELETE /nginx/proxy-hosts/{id}", a.authorised(a.remove))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "Not Found - "+r.URL.Path)
	})
	return mux
}

func refuse(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"error": map[string]any{"code": status, "message": message}})
}

func (a npmAPI) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"status":  "OK",
		"setup":   a.store.isSetUp(),
		"version": map[string]int{"major": 2, "minor": 14, "revision": 0},
	})
}

func (a npmAPI) logIn(w http.ResponseWriter, r *http.Request) {
	var who struct{ Identity, Secret, Scope string }
	if !readBody(w, r, &who) {
		return
	}
	for name, value := range map[string]string{"identity": who.Identity, "secret": who.Secret} {
		if value == "" {
			refuse(w, http.StatusBadRequest, "data must have required property '"+name+"'")
			return
		}
	}
	if !a.store.logIn(who.Identity, who.Secret) {
		refuse(w, http.StatusBadRequest, "Invalid email or password")
		return
	}
	expires := time.Now().AddDate(0, 0, 1)
	writeJSON(w, http.StatusOK, map[string]string{"token": a.store.token(expires), "expires": expires.UTC().Format(time.RFC3339)})
}

func (a npmAPI) authorised(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			refuse(w, http.StatusForbidden, "Permission Denied")
			return
		}
		switch err := a.store.checkToken(token); {
		case errors.Is(err, errExpired):
			refuse(w, http.StatusBadRequest, "Token has expired")
		case err != nil:
			refuse(w, http.StatusInternalServerError, "Internal Error")
		default:
			next(w, r)
		}
	}
}

func (a npmAPI) list(w http.ResponseWriter, _ *http.Request) {
	hosts := a.store.hosts()
	if hosts == nil {
		hosts = []proxyHost{}
	}
	writeJSON(w, http.StatusOK, hosts)
}

// hostRequest is what a proxy host may be made of. Without a certificate, what
// has to do with TLS is accepted and has no effect.
type hostRequest struct {
	DomainNames    []string       `json:"domain_names"`
	ForwardScheme  string         `json:"forward_scheme"`
	ForwardHost    string         `json:"forward_host"`
	ForwardPort    int            `json:"forward_port"`
	AccessListID   int            `json:"access_list_id"`
	CertificateID  int            `json:"certificate_id"`
	SSLForced      bool           `json:"ssl_forced"`
	CachingEnabled bool           `json:"caching_enabled"`
	BlockExploits  bool           `json:"block_exploits"`
	AdvancedConfig string         `json:"advanced_config"`
	Meta           map[string]any `json:"meta"`
	Websockets     bool           `json:"allow_websocket_upgrade"`
	HTTP2          bool           `json:"http2_support"`
	Enabled        *bool          `json:"enabled"`
	Locations      []any          `json:"locations"`
	HSTS           bool           `json:"hsts_enabled"`
	HSTSSubdomains bool           `json:"hsts_subdomains"`
}

var domainName = regexp.MustCompile("^[^&| @!#%^();:/\\\\}{=+?<>,~`'\"]+$")

func (r hostRequest) problem() string {
	switch {
	case len(r.DomainNames) == 0:
		return "data must have required property 'domain_names'"
	case r.ForwardScheme != "http" && r.ForwardScheme != "https":
		return "data/forward_scheme must be equal to one of the allowed values"
	case r.ForwardHost == "":
		return "data must have required property 'forward_host'"
	case r.ForwardPort < 1 || r.ForwardPort > 65535:
		return "data/forward_port must be <= 65535"
	}
	for i, name := range r.DomainNames {
		if !domainName.MatchString(name) {
			return fmt.Sprintf("data/domain_names/%d must match pattern %q", i, domainName)
		}
	}
	return ""
}

func (a npmAPI) create(w http.ResponseWriter, r *http.Request) {
	var req hostRequest
	if !readBody(w, r, &req) {
		return
	}
	if problem := req.problem(); problem != "" {
		refuse(w, http.StatusBadRequest, problem)
		return
	}
	host, taken, err := a.store.add(proxyHost{
		DomainNames: req.DomainNames, ForwardScheme: req.ForwardScheme, ForwardHost: req.ForwardHost, ForwardPort: req.ForwardPort,
		AccessListID: req.AccessListID, CachingEnabled: req.CachingEnabled, BlockExploits: req.BlockExploits,
		AdvancedConfig: req.AdvancedConfig, Meta: map[string]any{"nginx_online": true, "nginx_err": nil},
		Websockets: req.Websockets, Enabled: req.Enabled == nil || *req.Enabled, Locations: []any{},
	})
	switch {
	case taken != "":
		refuse(w, http.StatusBadRequest, taken+" is already in use")
	case err != nil:
		refuse(w, http.StatusInternalServerError, "Internal Error")
	default:
		writeJSON(w, http.StatusCreated, host)
	}
}

func (a npmAPI) remove(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "data/host_id must be integer")
		return
	}
	found, err := a.store.remove(id)
	switch {
	case err != nil:
		refuse(w, http.StatusInternalServerError, "Internal Error")
	case !found:
		refuse(w, http.StatusNotFound, fmt.Sprintf("Not Found - %d", id))
	default:
		writeJSON(w, http.StatusOK, true)
	}
}

// readBody reads JSON and nothing that is not asked for.
func readBody(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			refuse(w, http.StatusBadRequest, "data must NOT have additional properties")
		} else {
			refuse(w, http.StatusBadRequest, err.Error())
		}
		return false
	}
	return true
}
