package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

func TestPublishes(t *testing.T) {
	eachKind(t, func(w *world) {
		r := w.newRelease("1.2.3")
		w.mustPublish(r)
		w.wantPublished(r)
		before := w.changes.Load()
		w.mustPublish(r)
		w.wantPublished(r)
		if now := w.changes.Load(); now != before {
			w.Errorf("publishing again changed something: %d requests", now-before)
		}
	})
}

func TestNothingIsChangedBeforeRun(t *testing.T) {
	eachKind(t, func(w *world) {
		p, err := Prepare(w.Context(), w.options(), w.newRelease("1.2.3"), nil)
		if n := w.changes.Load(); err != nil || n != 0 {
			w.Errorf("%v, %d requests changed something", err, n)
		}
		if text := p.String(); !strings.Contains(text, "v1.2.3 will be published at "+w.place.String()) || !strings.Contains(text, "## Container images") {
			w.Errorf("got %s", text)
		}
	})
}

// cut is a connection that is cut at one of the requests that change something,
// together with whoever makes it.
type cut struct {
	http.RoundTripper
	at, n int
	how   string
	kill  context.CancelCauseFunc
}

var errCut = errors.New("the power is gone")

func (c *cut) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		c.n++
	}
	if req.Method == http.MethodGet || c.n != c.at {
		return c.RoundTripper.RoundTrip(req)
	}
	if c.how == "before" {
		c.kill(errCut)
		return nil, errCut
	}
	if c.how == "within" && req.Body != nil {
		out := req.Clone(req.Context())
		out.Body = io.NopCloser(io.MultiReader(io.LimitReader(req.Body, req.ContentLength/2), killer{c.kill}))
		return c.RoundTripper.RoundTrip(out)
	}
	resp, err := c.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	c.kill(errCut)
	return nil, errCut
}

type killer struct{ kill context.CancelCauseFunc }

func (k killer) Read([]byte) (int, error) {
	k.kill(errCut)
	return 0, errCut
}

func TestCutAnywhereItGoesOn(t *testing.T) {
	for name, newWorld := range servers {
		for _, how := range []string{"before", "within", "after"} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					w := newWorld(t)
					r := w.newRelease("1.2.3")
					ctx, kill := context.WithCancelCause(t.Context())
					o := w.options()
					c := &cut{RoundTripper: w.transport, at: at, how: how, kill: kill}
					o.Transport = c
					err := w.publish(ctx, o, r, nil)
					if c.n < at {
						if err != nil || at < 5 {
							t.Errorf("with %d requests: %v", c.n, err)
						}
						return
					}
					if !errors.Is(err, errCut) {
						t.Errorf("cut at request %d: got %v", at, err)
					}
					for _, channel := range []Channel{Stable, Beta} {
						if w.listed(channel) != "" && !w.complete(r) {
							t.Errorf("cut at request %d: the channel %s offers what is not there", at, channel)
						}
					}
					for _, rel := range w.releases() {
						if !rel.Draft && !w.complete(r) {
							t.Errorf("cut at request %d: half of a release is published", at)
						}
					}
					w.mustPublish(r)
					w.wantPublished(r)
				}
			})
		}
	}
}

// Every request fails once, and what it asked for may have been done.
func TestServersThatFailOnce(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter){
		"502": func(rw http.ResponseWriter) { http.Error(rw, "Bad Gateway", http.StatusBadGateway) },
		"429": func(rw http.ResponseWriter) {
			rw.Header().Set("Retry-After", "73")
			http.Error(rw, `{"message": "slow down"}`, http.StatusTooManyRequests)
		},
		"a connection that is cut": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, func(w *world) {
				seen := map[string]bool{}
				w.faults().Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
					key := r.Method + r.URL.String()
					if seen[key] {
						return false
					}
					seen[key] = true
					if r.Method != http.MethodGet && r.ContentLength > imageLen/2 {
						_, _ = io.CopyN(io.Discard, r.Body, imageLen/2)
					}
					fail(rw)
					return true
				}
				r := w.newRelease("1.2.3")
				w.mustPublish(r)
				w.faults().Intercept = nil
				w.wantPublished(r)
				if len(w.waited) < 5 {
					w.Errorf("waited %v", w.waited)
				}
				for _, d := range w.waited {
					if name == "429" && d != 73*time.Second {
						w.Errorf("waited %s, and not for as long as the server asked", d)
					}
				}
			})
		})
	}
}

func TestGitHubsOwnLimits(t *testing.T) {
	reset := time.Now().Add(20 * time.Minute)
	for name, header := range map[string]map[string]string{
		"primary":   {"X-RateLimit-Remaining": "0", "X-RateLimit-Limit": "5000", "X-RateLimit-Reset": fmt.Sprint(reset.Unix())},
		"secondary": {"Retry-After": "1200"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newGitHubWorld(t)
			once := false
			w.faults().Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
				if once || r.Method != http.MethodPost {
					return false
				}
				once = true
				for k, v := range header {
					rw.Header().Set(k, v)
				}
				http.Error(rw, `{"message": "limit", "documentation_url": "https://docs.github.com/rest#secondary-rate-limits"}`, http.StatusForbidden)
				return true
			}
			r := w.newRelease("1.2.3")
			w.mustPublish(r)
			w.wantPublished(r)
			if len(w.waited) != 1 || w.waited[0] < 19*time.Minute || w.waited[0] > 20*time.Minute {
				t.Errorf("waited %v", w.waited)
			}
		})
	}
}

func TestAServerThatStaysBroken(t *testing.T) {
	eachKind(t, func(w *world) {
		w.faults().Intercept = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				return false
			}
			http.Error(rw, "Internal Server Error", http.StatusInternalServerError)
			return true
		}
		err := w.publish(w.Context(), w.options(), w.newRelease("1.2.3"), nil)
		if err == nil || !strings.Contains(err.Error(), "500") || len(w.waited) != tries-1 {
			w.Errorf("got %v after %v", err, w.waited)
		}
	})
}

func TestWhatArrivesOtherwiseIsSentAgain(t *testing.T) {
	eachKind(t, func(w *world) {
		r := w.newRelease("1.2.3")
		bad := 2
		w.faults().Corrupt = func(name string) bool {
			if name != r.Files[0].Name || bad == 0 {
				return false
			}
			bad--
			return true
		}
		w.mustPublish(r)
		w.wantPublished(r)

		w.faults().Corrupt = func(name string) bool { return strings.HasSuffix(name, ".bmap") }
		next := w.newRelease("1.2.4")
		err := w.publish(w.Context(), w.options(), next, nil)
		if err == nil || !strings.Contains(err.Error(), "has arrived as") || !strings.Contains(err.Error(), next.Files[1].SHA256) {
			w.Errorf("got %v", err)
		}
		if all := w.releases(); len(all) != 2 || !all[1].Draft {
			w.Errorf("what has not arrived is visible: %+v", all)
		}
		if got := w.listed(Stable); got != r.Listing.URL {
			w.Errorf("the list offers %s", got)
		}
	})
}

// No list offers what nobody can download.
func TestListsWaitForDownloads(t *testing.T) {
	eachKind(t, func(w *world) {
		r := w.newRelease("1.2.3")
		wrong, hidden := false, 3
		w.faults().Intercept = func(rw http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, "/v1.2.3/"+r.Files[1].Name) && !strings.HasSuffix(req.URL.Path, "/downloads/"+r.Files[1].Name) {
				return false
			}
			switch {
			case hidden > 0:
				hidden--
				http.NotFound(rw, req)
			case wrong:
				_, _ = io.WriteString(rw, "an error page")
			default:
				return false
			}
			return true
		}
		wrong = true
		err := w.publish(w.Context(), w.options(), r, nil)
		if err == nil || !strings.Contains(err.Error(), "it has 13 bytes") {
			w.Errorf("got %v", err)
		}
		if stable, beta := w.listed(Stable), w.listed(Beta); stable != "" || beta != "" {
			w.Errorf("the lists offer %q and %q", stable, beta)
		}
		wrong = false
		w.mustPublish(r)
		w.wantPublished(r)
	})
}

// Something of the name has arrived between the looking and the sending.
func TestAnAssetThatIsThereMeanwhile(t *testing.T) {
	w := newGitHubWorld(t)
	r := w.newRelease("1.2.3")
	once := false
	w.faults().Intercept = func(rw http.ResponseWriter, req *http.Request) bool {
		if once || req.URL.Query().Get("name") != r.Files[1].Name {
			return false
		}
		once = true
		rw.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(rw, `{"message": "Validation Failed", "errors": [{"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}]}`)
		return true
	}
	w.mustPublish(r)
	w.wantPublished(r)
	if !once || len(w.waited) != 1 {
		t.Errorf("waited %v", w.waited)
	}
}

// GitLab searches for the names of packages.
func TestAPackageOfALongerName(t *testing.T) {
	w := newGitLabWorld(t)
	r := w.newRelease("1.2.3")
	other := r
	other.Name = "cubeos-lab"
	other.Files = []File{w.otherwise(r.Files[0]), w.otherwise(File{File: artifact.File{Name: "more.txt"}})}
	p, err := Prepare(t.Context(), w.options(), other, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range other.Files {
		if err := p.bring(t.Context(), p.jobs[0], f); err != nil {
			t.Fatal(err)
		}
	}
	w.mustPublish(r)
	w.wantPublished(r)
	if others := w.gitlab.Releases(other.Name); len(others) != 1 || others[0].Times != 2 {
		t.Errorf("got %+v", others)
	}
}

func TestServersThatTellNoDigest(t *testing.T) {
	w := newGitHubWorld(t)
	w.github.NoDigests = true
	r := w.newRelease("1.2.3")
	w.mustPublish(r)
	w.wantPublished(r)
}

func TestWhatAnotherAttemptLeftIsReplaced(t *testing.T) {
	eachKind(t, func(w *world) {
		old, r := w.newRelease("1.2.3"), w.newRelease("1.2.3")
		for i := range old.Files[:2] {
			old.Files[i] = w.otherwise(old.Files[i])
		}
		// It ends before anything is visible.
		ctx, kill := context.WithCancelCause(w.Context())
		o := w.options()
		o.Transport = &cut{RoundTripper: w.transport, at: len(r.Files) + 1, how: "after", kill: kill}
		if w.github == nil {
			o.Transport.(*cut).how = "before" // the release, which comes after the files
		}
		if err := w.publish(ctx, o, old, nil); !errors.Is(err, errCut) {
			w.Fatal(err)
		}
		w.mustPublish(r)
		w.wantPublished(r)
	})
}

func TestWhatIsPublishedIsNeverChanged(t *testing.T) {
	eachKind(t, func(w *world) {
		r := w.newRelease("1.2.3")
		w.mustPublish(r)
		before := w.changes.Load()
		other := r
		other.Files = append([]File{w.otherwise(r.Files[0])}, r.Files[1:]...)
		err := w.publish(w.Context(), w.options(), other, nil)
		if err == nil || !strings.Contains(err.Error(), "is published at "+w.place.String()+" already") || !strings.Contains(err.Error(), r.Files[0].SHA256) {
			w.Errorf("got %v", err)
		}
		if w.changes.Load() != before {
			w.Error("something was changed")
		}
		w.wantPublished(r)
	})
}
