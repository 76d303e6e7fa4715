// Package publishtest has servers that answer as GitHub and GitLab do, as far as
// publishing a release asks them. They are handlers, to be served over TLS, and
// keep the files that are uploaded in a directory.
package publishtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Faults are what may go wrong at a server. The zero value is a server without.
type Faults struct {
	// Intercept may answer a request instead of the server.
	Intercept func(w http.ResponseWriter, r *http.Request) bool
	// Corrupt says whether a file of the name is stored with another byte in it.
	Corrupt func(name string) bool
}

// store keeps files by their numbers.
type store struct {
	Faults
	dir  string
	mu   sync.Mutex
	last int64
}

// blob is a stored file.
type blob struct {
	id     int64
	name   string
	size   int64
	sha256 string
	whole  bool
}

// number returns one that nothing else has. The caller holds mu.
func (s *store) number() int64 {
	s.last++
	return s.last
}

func (s *store) path(id int64) string { return filepath.Join(s.dir, strconv.FormatInt(id, 10)) }

// receive stores a body as the file of b, and notes what it is.
func (s *store) receive(b *blob, body io.Reader) error {
	f, err := os.Create(s.path(b.id))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), body)
	if err != nil {
		return err
	}
	if s.Corrupt != nil && s.Corrupt(b.name) {
		sum.Write([]byte{0})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.size, b.sha256, b.whole = n, hex.EncodeToString(sum.Sum(nil)), true
	return nil
}

// serve answers with a stored file.
func (s *store) serve(w http.ResponseWriter, r *http.Request, id int64) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeFile(w, r, s.path(id))
}

// storage is where downloads are redirected to. As at the real ones, a request
// with credentials of its own is none that was signed.
func (s *store) storage(w http.ResponseWriter, r *http.Request) {
	for _, header := range []string{"Authorization", "Private-Token", "Job-Token"} {
		if r.Header.Get(header) != "" {
			http.Error(w, "Only one auth mechanism allowed", http.StatusBadRequest)
			return
		}
	}
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	s.serve(w, r, id)
}

func redirectToStorage(w http.ResponseWriter, r *http.Request, id int64) {
	http.Redirect(w, r, base(r)+"/storage/"+strconv.FormatInt(id, 10), http.StatusFound)
}

// base is the address that a request came to.
func base(r *http.Request) string { return "https://" + r.Host }

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever has gone does not read it
}

func message(w http.ResponseWriter, status int, format string, args ...any) {
	reply(w, status, map[string]string{"message": fmt.Sprintf(format, args...)})
}

// page cuts the page out of a list that a request asks for, and says how many
// there are.
func page[T any](r *http.Request, all []T) (some []T, number, pages int) {
	query := func(key string, otherwise int) int {
		if n, err := strconv.Atoi(r.URL.Query().Get(key)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	// Pages of two show whether a client asks for all of them.
	number, size := query("page", 1), min(query("per_page", 30), 2)
	pages = (len(all) + size - 1) / size
	from := min((number-1)*size, len(all))
	return all[from:min(from+size, len(all))], number, pages
}
