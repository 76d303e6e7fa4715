package pihole

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"sync"
	"time"
)

// attemptsPerSecond is how many wrong passwords FTL looks at.
const attemptsPerSecond = 3

type session struct {
	sid, csrf string
	until     time.Time
}

// sessions outlive a restart of FTL (webserver.session.restore).
type sessions struct {
	now func() time.Time

	mu       sync.Mutex
	open     map[string]*session
	attempts int
	second   int64 // in which the attempts were made
}

func newSessions() *sessions { return &sessions{now: time.Now, open: map[string]*session{}} }

// attempt counts a log-in and tells whether the password is still looked at.
// One that was right is given back.
func (s *sessions) attempt() (allowed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if second := s.now().Unix(); second != s.second {
		s.second, s.attempts = second, 0
	}
	s.attempts++
	return s.attempts <= attemptsPerSecond
}

func (s *sessions) right() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts--
}

// add returns a new session, or nil if all seats are taken.
func (s *sessions) add(seats int64, timeout time.Duration) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	maps.DeleteFunc(s.open, func(_ string, old *session) bool { return old.until.Before(now) })
	if int64(len(s.open)) >= seats {
		return nil
	}
	added := &session{sid: token(), csrf: token(), until: now.Add(timeout)}
	s.open[added.sid] = added
	return added
}

func token() string {
	raw := make([]byte, 16)
	rand.Read(raw)
	return base64.StdEncoding.EncodeToString(raw)
}

// of returns the session that a request is made in, or nil. A session that
// comes by cookie needs its CSRF token besides. Each use prolongs it.
func (s *sessions) of(r *http.Request, body map[string]any, timeout time.Duration) *session {
	sid := r.Header.Get("X-FTL-SID")
	if sid == "" {
		sid = r.Header.Get("sid")
	}
	if sid == "" {
		sid = r.URL.Query().Get("sid")
	}
	if sid == "" {
		sid, _ = body["sid"].(string)
	}
	cookie := false
	if c, err := r.Cookie("sid"); sid == "" && err == nil {
		sid, cookie = c.Value, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.open[sid]
	now := s.now()
	if found == nil || found.until.Before(now) || cookie && r.Header.Get("X-CSRF-TOKEN") != found.csrf {
		return nil
	}
	found.until = now.Add(timeout)
	return found
}

func (s *sessions) remove(sid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sid)
}

func (s *sessions) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.open)
}
