package pihole

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// call is one request to the API.
type call struct {
	*ftl
	w     http.ResponseWriter
	r     *http.Request
	began time.Time
	body  map[string]any
	// session is nil if there is none, also where none is needed.
	session *session
}

func (f *ftl) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/", f.api)
	mux.Handle("/admin", http.RedirectHandler("/admin/", http.StatusPermanentRedirect))
	mux.HandleFunc("GET /admin/", f.admin)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if r.Host == f.config().text("webserver.domain") {
			http.Redirect(w, r, "/admin/", http.StatusPermanentRedirect)
			return
		}
		http.NotFound(w, r)
	})
	return mux
}

// admin is the web interface: every page but the log-in wants a session.
func (f *ftl) admin(w http.ResponseWriter, r *http.Request) {
	c := f.config()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	page := service.Page("Pi-hole "+html.EscapeString(host), "Administration")
	if r.URL.Path == "/admin/login" || c.text("webserver.api.pwhash") == "" || f.sessions.of(r, nil, timeout(c)) != nil {
		page(w, r)
		return
	}
	http.Redirect(w, r, "/admin/login", http.StatusFound)
}

func timeout(c *config) time.Duration {
	return time.Duration(c.number("webserver.session.timeout")) * time.Second
}

func (f *ftl) api(w http.ResponseWriter, r *http.Request) {
	a := &call{ftl: f, w: w, r: r, began: time.Now()}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		a.refuse(http.StatusBadRequest, "bad_request", err.Error(), nil)
		return
	}
	invalid := json.Unmarshal(data, &a.body)
	a.session = f.sessions.of(r, a.body, timeout(f.config()))

	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	endpoint, rest, _ := strings.Cut(path, "/")
	switch {
	case path == "auth":
		if r.Method == http.MethodPost && !a.readable(data, invalid) {
			return
		}
		a.auth()
		return
	case path == "info/login" && r.Method == http.MethodGet:
		a.send(http.StatusOK, map[string]any{"dns": f.answersDNS(), "https_port": 0})
		return
	case endpoint != "config" && endpoint != "dhcp" && endpoint != "action":
		a.refuse(http.StatusNotFound, "not_found", "Not found", r.URL.Path)
		return
	case a.session == nil && f.config().text("webserver.api.pwhash") != "":
		a.refuse(http.StatusUnauthorized, "unauthorized", "Unauthorized", nil)
		return
	}
	switch {
	case endpoint == "config" && r.Method == http.MethodGet:
		a.getConfig(rest)
	case endpoint == "config" && r.Method == http.MethodPatch:
		if a.readable(data, invalid) {
			a.patchConfig(rest)
		}
	case endpoint == "config" && (r.Method == http.MethodPut || r.Method == http.MethodDelete):
		a.changeList(rest)
	case path == "dhcp/leases" && r.Method == http.MethodGet:
		a.getLeases()
	case strings.HasPrefix(path, "dhcp/leases/") && r.Method == http.MethodDelete:
		a.deleteLease(strings.TrimPrefix(path, "dhcp/leases/"))
	case path == "action/restartdns" && r.Method == http.MethodPost:
		a.send(http.StatusOK, map[string]any{"status": "success"})
		f.restart()
	default:
		a.refuse(http.StatusNotFound, "not_found", "Not found", r.URL.Path)
	}
}

func (a *call) send(status int, answer map[string]any) {
	answer["took"] = time.Since(a.began).Seconds()
	service.JSON(a.w, status, answer)
}

func (a *call) refuse(status int, key, message string, hint any) {
	a.send(status, map[string]any{"error": map[string]any{"key": key, "message": message, "hint": hint}})
}

// readable refuses a request that needs a body of JSON and has none.
func (a *call) readable(data []byte, invalid error) bool {
	switch {
	case len(data) == 0:
		a.refuse(http.StatusBadRequest, "bad_request", "No request body data", nil)
		return false
	case invalid != nil:
		a.refuse(http.StatusBadRequest, "bad_request", "Invalid request body data (no valid JSON), error at hint", invalid.Error())
		return false
	}
	return true
}

func (a *call) auth() {
	c := a.config()
	hashed := c.text("webserver.api.pwhash")
	if a.r.Method == http.MethodDelete {
		if a.session == nil {
			a.state(http.StatusUnauthorized, "")
			return
		}
		a.sessions.remove(a.session.sid)
		a.w.WriteHeader(http.StatusNoContent)
		return
	}
	given := ""
	if a.r.Method == http.MethodPost {
		value, there := a.body["password"]
		var ok bool
		switch given, ok = value.(string); {
		case !there:
			a.refuse(http.StatusBadRequest, "bad_request", "No password found in JSON payload", nil)
			return
		case !ok:
			a.refuse(http.StatusBadRequest, "bad_request", "Field password has to be of type 'string'", nil)
			return
		}
	} else if a.r.Method != http.MethodGet {
		a.refuse(http.StatusNotFound, "not_found", "Not found", a.r.URL.Path)
		return
	}
	if hashed == "" && given == "" {
		a.state(http.StatusOK, "no password set")
		return
	}
	if given == "" {
		status := http.StatusUnauthorized
		if a.session != nil {
			status = http.StatusOK
		}
		a.state(status, "")
		return
	}
	if !a.sessions.attempt() {
		a.refuse(http.StatusTooManyRequests, "rate_limiting", "Rate-limiting login attempts", nil)
		return
	}
	right, legacy := verify(given, hashed)
	if !right {
		a.session = nil
		a.state(http.StatusUnauthorized, "password incorrect")
		return
	}
	a.sessions.right()
	if legacy {
		if err := a.upgrade(given); err != nil {
			a.refuse(http.StatusInternalServerError, "internal_error", err.Error(), nil)
			return
		}
	}
	a.session = a.sessions.add(c.number("webserver.api.max_sessions"), timeout(c))
	if a.session == nil {
		a.refuse(http.StatusTooManyRequests, "api_seats_exceeded", "API seats exceeded", "increase webserver.api.max_sessions")
		return
	}
	http.SetCookie(a.w, &http.Cookie{Name: "sid", Value: a.session.sid, Path: "/", MaxAge: int(timeout(c).Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode})
	a.state(http.StatusOK, "password correct")
}

// state answers with the state of the session.
func (a *call) state(status int, message string) {
	state := map[string]any{"valid": status == http.StatusOK, "totp": false, "sid": nil, "validity": -1, "message": nil}
	if message != "" {
		state["message"] = message
	}
	if a.session != nil {
		state["sid"], state["csrf"] = a.session.sid, a.session.csrf
		state["validity"] = int(timeout(a.config()).Seconds())
	}
	a.send(status, map[string]any{"session": state})
}

// getConfig answers with the settings below a path.
func (a *call) getConfig(path string) {
	c := a.config()
	tree := map[string]any{}
	for _, i := range items() {
		if !below(i.key, path) {
			continue
		}
		names := strings.Split(i.key, ".")
		at := tree
		for _, name := range names[:len(names)-1] {
			next, ok := at[name].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[name] = next
			}
			at = next
		}
		at[names[len(names)-1]] = c.values[i.key]
		if i.typ == password {
			at[names[len(names)-1]] = placeholder
		}
	}
	a.send(http.StatusOK, map[string]any{"config": tree})
}

// placeholder stands for a password, which is not kept.
const placeholder = "********"

func below(key, path string) bool {
	return path == "" || key == strings.ReplaceAll(path, "/", ".") || strings.HasPrefix(key, strings.ReplaceAll(path, "/", ".")+".")
}

func (a *call) patchConfig(path string) {
	tree, ok := a.body["config"].(map[string]any)
	if !ok {
		a.refuse(http.StatusBadRequest, "body_error", `No "config" object in body data`, nil)
		return
	}
	old := a.config()
	if old.flag("misc.readOnly") {
		a.refuse(http.StatusForbidden, "forbidden", "The config is currently in read-only mode", nil)
		return
	}
	c := old.clone()
	var changed []item
	for _, i := range items() {
		raw, there := find(tree, i.key)
		if !there || i.typ == password && raw == placeholder {
			continue
		}
		different, message, hint := c.patch(i, raw)
		if message != "" {
			a.refuse(http.StatusBadRequest, "bad_request", message, hint)
			return
		}
		if different {
			changed = append(changed, i)
		}
	}
	if a.install(c, changed) {
		a.getConfig(path)
	}
}

const locked = "Config items set via environment variables cannot be changed via the API"

// patch sets an item to what the API was sent, and tells whether that is
// another value, or why it may not be set.
func (c *config) patch(i item, raw any) (different bool, message, hint string) {
	value, err := i.fromJSON(raw)
	different = i.typ == password || !reflect.DeepEqual(value, c.values[i.key])
	switch {
	case err != nil:
		return false, "Config item is invalid", i.key + ": " + err.Error()
	case i.key == "misc.readOnly" && value == true:
		return false, "This config option can only be set in pihole.toml, not via the API", i.key
	case c.forced[i.key] && different:
		return false, locked, i.key
	case i.typ == password:
		c.setPassword(value.(string))
	case different:
		if err := i.valid(value); err != nil {
			return false, "Config item validation failed", err.Error()
		}
		c.values[i.key] = value
	}
	return different, "", ""
}

// install makes c the settings, writes them, and restarts where that is needed.
func (a *call) install(c *config, changed []item) bool {
	restart := slices.ContainsFunc(changed, func(i item) bool { return i.restarts })
	if restart {
		if err := c.check(); err != nil {
			a.refuse(http.StatusBadRequest, "bad_request", "Invalid configuration", err.Error())
			return false
		}
	}
	if len(changed) > 0 {
		if err := a.replace(c); err != nil {
			a.refuse(http.StatusInternalServerError, "internal_error", err.Error(), nil)
			return false
		}
	}
	if slices.ContainsFunc(changed, func(i item) bool { return i.typ == password || i.key == "webserver.api.pwhash" }) {
		a.sessions.clear()
	}
	if restart && a.r.URL.Query().Get("restart") != "false" {
		a.restart()
	}
	return true
}

// changeList adds an element to a list of strings, or takes it away: its path
// is the item's with the element at the end.
func (a *call) changeList(path string) {
	put := a.r.Method == http.MethodPut
	parts := strings.Split(path, "/")
	if len(parts) < 2 {
		a.refuse(http.StatusBadRequest, "bad_request", "Invalid path depth", "Use, e.g., PUT /api/config/dns/upstreams/127.0.0.1 to add \"127.0.0.1\" to config.dns.upstreams")
		return
	}
	key, element := strings.Join(parts[:len(parts)-1], "."), parts[len(parts)-1]
	at := slices.IndexFunc(items(), func(i item) bool { return i.key == key && i.typ == list })
	if at < 0 {
		a.send(http.StatusNotFound, map[string]any{})
		return
	}
	i := items()[at]
	c := a.config().clone()
	if c.forced[key] {
		a.refuse(http.StatusBadRequest, "bad_request", locked, key)
		return
	}
	values := slices.Clone(c.list(key))
	index := slices.Index(values, element)
	switch {
	case put && index >= 0:
		a.refuse(http.StatusBadRequest, "bad_request", "Item already present", "Uniqueness of items is enforced")
		return
	case put:
		values = append(values, element)
		if err := i.valid(values); err != nil {
			a.refuse(http.StatusBadRequest, "bad_request", "Invalid value", err.Error())
			return
		}
	case index < 0:
		a.send(http.StatusNotFound, map[string]any{})
		return
	default:
		values = slices.Delete(values, index, index+1)
	}
	c.values[key] = values
	if !a.install(c, []item{i}) {
		return
	}
	if put {
		a.send(http.StatusCreated, map[string]any{})
	} else {
		a.w.WriteHeader(http.StatusNoContent)
	}
}

func (a *call) getLeases() {
	leases := []map[string]any{}
	for _, l := range a.leases.all(time.Now()) {
		star := func(s string) string {
			if s == "" {
				return "*"
			}
			return s
		}
		leases = append(leases, map[string]any{"expires": l.expires, "name": star(l.name), "hwaddr": l.hardware, "ip": l.addr.String(), "clientid": star(l.clientID)})
	}
	a.send(http.StatusOK, map[string]any{"leases": leases})
}

func (a *call) deleteLease(raw string) {
	addr, err := netip.ParseAddr(raw)
	if err != nil {
		a.refuse(http.StatusBadRequest, "bad_request", "The provided IPv4 address is invalid", raw)
		return
	}
	found, err := a.leases.remove(addr)
	switch {
	case err != nil:
		a.refuse(http.StatusInternalServerError, "internal_error", err.Error(), nil)
	case !found:
		a.send(http.StatusNotFound, map[string]any{})
	default:
		a.w.WriteHeader(http.StatusNoContent)
	}
}

// upgrade replaces a hash of Pi-hole 5's at the first log-in.
func (f *ftl) upgrade(password string) error {
	c := f.config().clone()
	c.values["webserver.api.pwhash"] = hash(password)
	if err := f.replace(c); err != nil {
		return fmt.Errorf("upgrading the password: %w", errors.Unwrap(err))
	}
	return nil
}
