package publish

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// slow is a body of which a byte comes every now and then, and at last nothing
// for as long as ctx lasts, if it is given.
type slow struct {
	every time.Duration
	left  int
	ctx   context.Context
}

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		if s.ctx == nil {
			return 0, io.EOF
		}
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	s.left--
	time.Sleep(s.every)
	p[0] = 'x'
	return 1, nil
}

func TestOnlyStalledRequestsEnd(t *testing.T) {
	const nearly = stallTimeout - time.Second
	for name, tt := range map[string]struct {
		server  roundTrip
		stalled bool
	}{
		"slow": {func(req *http.Request) (*http.Response, error) {
			_, err := io.Copy(io.Discard, req.Body)
			time.Sleep(nearly) // the server stores it
			return &http.Response{Body: io.NopCloser(&slow{every: nearly, left: 3})}, err
		}, false},
		"no answer": {func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		}, true},
		"half an answer": {func(req *http.Request) (*http.Response, error) {
			return &http.Response{Body: io.NopCloser(&slow{every: nearly, left: 3, ctx: req.Context()})}, nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://example.org/", &slow{every: nearly, left: 3})
				if err != nil {
					t.Fatal(err)
				}
				resp, err := watched{tt.server}.RoundTrip(req)
				if err == nil {
					var text []byte
					text, err = io.ReadAll(resp.Body)
					if want := strings.Repeat("x", 3); string(text) != want {
						t.Errorf("got %q", text)
					}
					resp.Body.Close()
				}
				if errors.Is(err, errStalled) != tt.stalled || !tt.stalled && err != nil {
					t.Errorf("got %v", err)
				}
				if _, again := mayPass(err, 0); tt.stalled && !again {
					t.Error("it is not tried again")
				}
			})
		})
	}
}
