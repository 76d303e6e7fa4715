package hal

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// keys are the roles of those who may ask, by their keys.
type keys map[string]string

const (
	core     = "core"
	meshsat  = "meshsat"
	readonly = "readonly"
)

func readKeys(env service.Env, path string) keys {
	text, from := []byte(env["HAL_ACL_KEYS"]), "HAL_ACL_KEYS"
	if len(text) == 0 {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			return nil
		}
		from = path
	}
	var file struct {
		Keys keys `json:"keys"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		log.Printf("ACL: %s: %v", from, err)
		return nil
	}
	known := keys{}
	for key, role := range file.Keys {
		if !slices.Contains([]string{core, meshsat, readonly}, role) {
			log.Printf("ACL: %s: unknown role %q", from, role)
			continue
		}
		known[key] = role
	}
	return known
}

// permission is a path, without /hal, and whether it may only be read.
type permission struct {
	path     string
	readOnly bool
}

func permissions(role string) []permission {
	switch role {
	case core:
		return []permission{{"/", false}}
	case meshsat:
		return []permission{
			{"/gps/", false}, {"/meshtastic/", false}, {"/iridium/", false},
			{"/network/wifi/status/", true}, {"/network/status", true},
			{"/system/info", true}, {"/system/temperature", true}, {"/system/uptime", true},
			{"/power/status", true}, {"/power/battery", true}, {"/sensors/", true},
		}
	case readonly:
		return []permission{
			{"/system/", true}, {"/power/status", true}, {"/power/battery", true}, {"/power/ups", true}, {"/power/monitor/status", true}, {"/sensors/", true},
		}
	}
	return nil
}

func allowed(role, path, method string) bool {
	path = strings.TrimPrefix(path, "/hal")
	reading := method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
	return slices.ContainsFunc(permissions(role), func(p permission) bool {
		return (strings.HasPrefix(path, p.path) || path == strings.TrimSuffix(p.path, "/")) && (reading || !p.readOnly)
	})
}

// protect lets only those through who have a key for what they ask.
func (k keys) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if len(k) == 0 || path == "/health" || path == "/hal/health" || strings.HasPrefix(path, "/hal/docs") {
			next.ServeHTTP(w, r)
			return
		}
		key := r.Header.Get("X-HAL-Key")
		role, known := k[key]
		switch {
		case key == "":
			refuse(w, http.StatusUnauthorized, "missing X-HAL-Key header")
		case !known:
			refuse(w, http.StatusUnauthorized, "invalid API key")
		case !allowed(role, path, r.Method):
			refuse(w, http.StatusForbidden, "insufficient permissions")
		default:
			next.ServeHTTP(w, r)
		}
	})
}
