package npm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// backend is the administration's API, as port 3000 has it; nginx adds /api.
type backend struct {
	store *store
	nginx *nginx
}

func newBackend(s *store, n *nginx) http.Handler {
	b := backend{s, n}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", b.health)
	mux.HandleFunc("POST /tokens", b.logIn)
	mux.HandleFunc("GET /tokens", b.as(nil, b.refresh))
	mux.HandleFunc("GET /users", b.as(nil, b.listUsers))
	mux.HandleFunc("POST /users", b.as(newUserSchema, b.createUser))
	mux.HandleFunc("GET /users/{id}", b.as(nil, b.getUser))
	mux.HandleFunc("PUT /users/{id}", b.as(userSchema, b.updateUser))
	mux.HandleFunc("PUT /users/{id}/auth", b.as(authSchema, b.setPassword))
	mux.HandleFunc("DELETE /users/{id}", b.as(nil, b.deleteUser))
	mux.HandleFunc("GET /nginx/proxy-hosts", b.as(nil, b.listHosts))
	mux.HandleFunc("POST /nginx/proxy-hosts", b.as(newHostSchema, b.createHost))
	mux.HandleFunc("GET /nginx/proxy-hosts/{id}", b.as(nil, b.getHost))
	mux.HandleFunc("PUT /nginx/proxy-hosts/{id}", b.as(hostSchema, b.updateHost))
	mux.HandleFunc("DELETE /nginx/proxy-hosts/{id}", b.as(nil, b.deleteHost))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "Not Found - "+r.URL.Path)
	})
	return mux
}

// failure is an error that the caller is told.
type failure struct {
	status  int
	message string
}

func (f failure) Error() string { return f.message }

func invalid(format string, args ...any) error {
	return failure{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// errDenied is that somebody may not do something. The backend means to answer
// 403, but throws what is not there, and so answers as if there were no such path.
var errDenied = errors.New("permission denied")

func notFound(id string) error { return failure{http.StatusNotFound, "Not Found - " + id} }

func refuse(w http.ResponseWriter, status int, message string) {
	service.JSON(w, status, map[string]any{"error": map[string]any{"code": status, "message": message}})
}

// fail answers with an error; one that is not meant for the caller is logged.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if f, ok := errors.AsType[failure](err); ok {
		refuse(w, f.status, f.message)
		return
	}
	if errors.Is(err, errDenied) {
		refuse(w, http.StatusNotFound, "Not Found - "+r.URL.Path)
		return
	}
	log.Print(err)
	service.JSON(w, http.StatusInternalServerError, map[string]any{"error": map[string]any{"message": "Internal Error"}})
}

func (b backend) health(w http.ResponseWriter, _ *http.Request) {
	service.JSON(w, http.StatusOK, map[string]any{
		"status":  "OK",
		"setup":   b.store.isSetUp(),
		"version": map[string]int{"major": 2, "minor": 14, "revision": 0},
	})
}

// read reads a request's JSON, and nothing that is no JSON by its own words.
func read(w http.ResponseWriter, r *http.Request) (map[string]any, error) {
	body := map[string]any{}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return nil, failure{http.StatusRequestEntityTooLarge, "Internal Error"}
	}
	if len(data) == 0 || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return body, nil
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, failure{http.StatusBadRequest, "Internal Error"}
	}
	return body, nil
}

// readAs is the body that the schema takes.
func readAs(w http.ResponseWriter, r *http.Request, want schema) (map[string]any, error) {
	body, err := read(w, r)
	if err != nil {
		return nil, err
	}
	if problem := want.check(body); problem != "" {
		return nil, invalid("%s", problem)
	}
	return body, nil
}

func (b backend) logIn(w http.ResponseWriter, r *http.Request) {
	body, err := readAs(w, r, tokenSchema())
	if err != nil {
		fail(w, r, err)
		return
	}
	u, ok := b.store.logIn(body["identity"].(string), body["secret"].(string))
	switch {
	case !ok && u.ID != 0:
		service.JSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"code": http.StatusBadRequest, "message": "Invalid email or password", "message_i18n": "error.invalid-auth"}})
	case !ok:
		refuse(w, http.StatusBadRequest, "Invalid email or password")
	default:
		b.send(w, u)
	}
}

func (b backend) send(w http.ResponseWriter, u user) {
	expires := time.Now().AddDate(0, 0, 1).UTC()
	service.JSON(w, http.StatusOK, map[string]string{"token": b.store.token(u.ID, expires), "expires": expires.Format("2006-01-02T15:04:05.000Z")})
}

// who returns the user that makes a request. It is errDenied where nobody is
// logged in.
func (b backend) who(r *http.Request) (user, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return user{}, errDenied
	}
	id, err := b.store.bearer(token)
	if errors.Is(err, errExpired) {
		return user{}, invalid("Token has expired")
	}
	if err != nil {
		return user{}, err
	}
	u, there := b.store.user(id)
	if !there || u.IsDisabled {
		return user{}, errDenied
	}
	return u, nil
}

// request is one of a user who is logged in, with a body that the schema takes.
type request struct {
	*http.Request
	by   user
	body map[string]any
}

// as answers requests. What is wrong with a body is said before who asks is
// looked at, but for a token that is none.
func (b backend) as(want func() schema, next func(w http.ResponseWriter, r request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req := request{Request: r}
		by, err := b.who(r)
		if err != nil && !errors.Is(err, errDenied) {
			fail(w, r, err)
			return
		}
		req.by = by
		if want != nil {
			var invalidBody error
			if req.body, invalidBody = readAs(w, r, want()); invalidBody != nil {
				fail(w, r, invalidBody)
				return
			}
		}
		first := r.Method == http.MethodPost && r.URL.Path == "/users" && !b.store.isSetUp()
		if err == nil || first {
			err = next(w, req)
		} else if strings.HasPrefix(r.URL.Path, "/users/me") || r.URL.Path == "/tokens" {
			err = errors.New("there is no user of the request")
		}
		if err != nil {
			fail(w, r, err)
		}
	}
}

func (b backend) refresh(w http.ResponseWriter, r request) error {
	b.send(w, r.by)
	return nil
}

func expanded(r request, u user) user {
	if !strings.Contains(r.URL.Query().Get("expand"), "permissions") {
		u.Permissions = nil
	}
	return u
}

func (b backend) listUsers(w http.ResponseWriter, r request) error {
	if !r.by.admin() {
		return errDenied
	}
	users := b.store.users()
	for i := range users {
		users[i] = expanded(r, users[i])
	}
	service.JSON(w, http.StatusOK, users)
	return nil
}

// createUser needs an administrator, unless there is no user at all: then the
// first becomes one.
func (b backend) createUser(w http.ResponseWriter, r request) error {
	first := !b.store.isSetUp()
	if !first && !r.by.admin() {
		return errDenied
	}
	var u user
	change(&u, r.body)
	u.Email, _ = r.body["email"].(string) // as it is written, though a log-in looks for small letters
	if first && !u.admin() {
		u.Roles, u.IsDisabled = append(u.Roles, "admin"), false
	}
	password := ""
	if auth, ok := r.body["auth"].(map[string]any); ok {
		password, _ = auth["secret"].(string)
	}
	u, err := b.store.addUser(u, password)
	if err == nil {
		service.JSON(w, http.StatusCreated, u)
	}
	return err
}

// change takes over what a request sets of a user.
func change(u *user, body map[string]any) {
	for name, value := range body {
		switch name {
		case "name":
			u.Name = value.(string)
		case "nickname":
			u.Nickname = value.(string)
		case "email":
			u.Email = strings.ToLower(strings.TrimSpace(value.(string)))
		case "is_disabled":
			u.IsDisabled = value.(bool)
		case "roles":
			u.Roles = []string{}
			for _, role := range value.([]any) {
				u.Roles = append(u.Roles, role.(string))
			}
		}
	}
	if u.Roles == nil {
		u.Roles = []string{}
	}
}

// target is the user that a request is about.
func (b backend) target(r request) (user, error) {
	raw := r.PathValue("id")
	if raw == "me" {
		return r.by, nil
	}
	id, err := strconv.Atoi(raw)
	if err != nil {
		return user{}, invalid("data/user_id must be integer")
	}
	if !r.by.admin() && id != r.by.ID {
		return user{}, errDenied
	}
	u, ok := b.store.user(id)
	if !ok {
		return user{}, notFound(raw)
	}
	return u, nil
}

func (b backend) getUser(w http.ResponseWriter, r request) error {
	u, err := b.target(r)
	if err == nil {
		service.JSON(w, http.StatusOK, expanded(r, u))
	}
	return err
}

func (b backend) updateUser(w http.ResponseWriter, r request) error {
	u, err := b.target(r)
	if err != nil {
		return err
	}
	if email, ok := r.body["email"].(string); ok {
		for _, other := range b.store.users() {
			if other.ID != u.ID && other.Email == strings.ToLower(strings.TrimSpace(email)) {
				return invalid("Email address already in use - %s", other.Email)
			}
		}
	}
	u, err = b.store.changeUser(u.ID, func(u *user) { change(u, r.body) })
	if err == nil {
		service.JSON(w, http.StatusOK, expanded(r, u))
	}
	return err
}

func (b backend) setPassword(w http.ResponseWriter, r request) error {
	u, err := b.target(r)
	if err != nil {
		return err
	}
	if u.ID == r.by.ID {
		current, _ := r.body["current"].(string)
		if current == "" {
			return invalid("Current password was not supplied")
		}
		if _, ok := b.store.logIn(u.Email, current); !ok {
			return invalid("Invalid email or password")
		}
	}
	if err := b.store.setPassword(u.ID, r.body["secret"].(string)); err != nil {
		return err
	}
	service.JSON(w, http.StatusOK, true)
	return nil
}

func (b backend) deleteUser(w http.ResponseWriter, r request) error {
	if !r.by.admin() {
		return errDenied
	}
	u, err := b.target(r)
	if err != nil {
		return err
	}
	if u.ID == r.by.ID {
		return failure{http.StatusForbidden, "Permission Denied"}
	}
	if err := b.store.removeUser(u.ID); err != nil {
		return err
	}
	service.JSON(w, http.StatusOK, true)
	return nil
}

// sees tells whether a user may know of a host.
func sees(u user, h proxyHost) bool {
	return u.Permissions["visibility"] == "all" || h.OwnerUserID == u.ID
}

func (b backend) listHosts(w http.ResponseWriter, r request) error {
	hosts := []proxyHost{}
	for _, h := range b.store.hosts() {
		if sees(r.by, h) {
			hosts = append(hosts, h)
		}
	}
	service.JSON(w, http.StatusOK, hosts)
	return nil
}

func (b backend) targetHost(r request) (proxyHost, error) {
	raw := r.PathValue("id")
	id, err := strconv.Atoi(raw)
	if err != nil {
		return proxyHost{}, invalid("data/host_id must be integer")
	}
	h, ok := b.store.host(id)
	if !ok || !sees(r.by, h) {
		return proxyHost{}, notFound(raw)
	}
	return h, nil
}

// changeHost takes over what a request sets of a host. The names of the
// request's properties are those of the answer's, and the schema has seen to
// their types.
func changeHost(h proxyHost, body map[string]any) (proxyHost, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return h, err
	}
	h.Meta = map[string]any{}
	return h, json.Unmarshal(data, &h)
}

func (b backend) createHost(w http.ResponseWriter, r request) error {
	h, err := changeHost(proxyHost{OwnerUserID: r.by.ID, Enabled: true}, r.body)
	if err != nil {
		return err
	}
	if name := b.store.taken(h.DomainNames, 0); name != "" {
		return invalid("%s is already in use", name)
	}
	if h, err = b.store.put(h); err != nil {
		return err
	}
	if err := b.configure(h); err != nil {
		return err
	}
	// What nginx makes of the host is not in this answer, but in the next.
	service.JSON(w, http.StatusCreated, h)
	return nil
}

// configure has nginx serve the host, and keeps what becomes of it.
func (b backend) configure(h proxyHost) error {
	meta, err := b.nginx.configure(h)
	if meta != nil {
		h.Meta = meta
		if _, err := b.store.put(h); err != nil {
			return err
		}
	}
	return err
}

func (b backend) getHost(w http.ResponseWriter, r request) error {
	h, err := b.targetHost(r)
	if err == nil {
		service.JSON(w, http.StatusOK, h)
	}
	return err
}

func (b backend) updateHost(w http.ResponseWriter, r request) error {
	old, err := b.targetHost(r)
	if err != nil {
		return err
	}
	h, err := changeHost(old, r.body)
	if err != nil {
		return err
	}
	if name := b.store.taken(h.DomainNames, h.ID); name != "" {
		return invalid("%s is already in use", name)
	}
	if _, changed := r.body["meta"]; !changed {
		h.Meta = old.Meta
	}
	if h, err = b.store.put(h); err != nil {
		return err
	}
	if err := b.configure(h); err != nil {
		return err
	}
	h, _ = b.store.host(h.ID)
	service.JSON(w, http.StatusOK, h)
	return nil
}

func (b backend) deleteHost(w http.ResponseWriter, r request) error {
	h, err := b.targetHost(r)
	if err != nil {
		return err
	}
	if err := errors.Join(b.nginx.remove(h), b.store.removeHost(h.ID)); err != nil {
		return err
	}
	if err := b.nginx.reload(); err != nil {
		return err
	}
	service.JSON(w, http.StatusOK, true)
	return nil
}
