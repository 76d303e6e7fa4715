package containerimage

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// manifestIs answers every question for a manifest with one document.
func manifestIs(contentType, document string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, document)
	}
}

const loginPage = "<!DOCTYPE html><html><body>Log in to the hotel's network</body></html>"

func TestAnswersOfNoRegistry(t *testing.T) {
	page := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, loginPage)
	}
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, next http.Handler)
		want   string
	}{
		"a page instead of a manifest":   {manifestIs("text/html; charset=utf-8", loginPage), "the answer is text/html, not a manifest"},
		"a page under a manifest's type": {manifestIs("application/vnd.oci.image.index.v1+json", loginPage), "not a manifest"},
		"nothing":                        {manifestIs("text/plain", ""), "the answer is text/plain, not a manifest"},
		"JSON of something else":         {manifestIs("application/json", `{"login": "/portal"}`), "the answer is application/json, not a manifest"},
		"a page for everything":          {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { page(w) }, "the answer is text/html"},
		"sent to a page": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if r.URL.Path == "/login" {
				page(w)
				return
			}
			http.Redirect(w, r, "/login", http.StatusFound)
		}, "the answer is text/html"},
		"the status for it": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusNetworkAuthenticationRequired)
			page(w)
		}, "511"},
		"a page instead of a token": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			if r.URL.Path == "/token" {
				page(w)
				return
			}
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
		}, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := startRegistry(t)
			asked := atomic.Int64{}
			tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, "/manifests/") {
					asked.Add(1)
				}
				tt.answer(w, r, next)
			})
			o := testOptions(t, tr, "a "+refA)
			_, err := Download(t.Context(), o)
			for _, want := range []string{"pulling a (" + refA, tt.want, "That is no registry's answer: a page to log in to this network"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %q in it", err, want)
				}
			}
			if asked.Load() > 1 {
				t.Errorf("asked %d times", asked.Load())
			}
			wantCacheClean(t, o)
		})
	}
}

// noted is where waits are written down instead of being waited for.
func noted(waits *[]time.Duration) func(context.Context, time.Duration) error {
	return func(_ context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return nil
	}
}

func TestRegistryThatAsksToWait(t *testing.T) {
	tr := startRegistry(t)
	img := testImage(t, "arm64", 1)
	layer := isLayer(t, img)
	in := func(part string) func(*http.Request) bool {
		return func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) }
	}
	seconds := func(n ...int) (all []time.Duration) {
		for _, s := range n {
			all = append(all, time.Duration(s)*time.Second)
		}
		return all
	}
	for name, tt := range map[string]struct {
		code  int
		where func(*http.Request) bool
		after string
		times int64
		waits []time.Duration
		want  string // "" if it succeeds
	}{
		"429 for the manifest":    {429, in("/manifests/"), "20", 1, seconds(20), ""},
		"503 for the manifest":    {503, in("/manifests/"), "20", 1, seconds(20), ""},
		"429 before anything":     {429, func(r *http.Request) bool { return r.URL.Path == "/v2/" }, "20", 1, seconds(20), ""},
		"503 for a layer":         {503, layer, "20", 2, seconds(20, 20), ""},
		"oftener than attempts":   {429, layer, "40", 7, seconds(40, 40, 40, 40, 40, 40, 40), ""},
		"shorter than our own":    {429, in("/manifests/"), "0", 2, []time.Duration{time.Millisecond, 3 * time.Millisecond}, ""},
		"no number":               {429, in("/manifests/"), "soon", 1, []time.Duration{time.Millisecond}, ""},
		"hours":                   {429, in("/manifests/"), "21600", 99, nil, "it asks to wait 6h0m0s, after 0s so far, and the limit is 5m0s in all"},
		"for ever, by and by":     {503, layer, "120", 99, seconds(120, 120), "it asks to wait 2m0s, after 4m0s so far, and the limit is 5m0s in all"},
		"another status, ignored": {500, in("/manifests/"), "20", 1, []time.Duration{time.Millisecond}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr.answer(nil)
			tr.push(t, refA, img)
			asked := atomic.Int64{}
			tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if tt.where(r) && asked.Add(1) <= tt.times {
					w.Header().Set("Retry-After", tt.after)
					w.WriteHeader(tt.code)
					return
				}
				next.ServeHTTP(w, r)
			})
			var waits []time.Duration
			var log strings.Builder
			o := testOptions(t, tr, "a "+refA)
			o.sleep, o.Reporter = noted(&waits), progress.New(&log)
			_, err := Download(t.Context(), o)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got  %v\nwant %q in it", err, tt.want)
			}
			if diff := cmp.Diff(tt.waits, waits); diff != "" {
				t.Errorf("waits (-want +got):\n%s", diff)
			}
			if len(tt.waits) > 0 && tt.waits[0] >= time.Second && !strings.Contains(log.String(), fmt.Sprintf("%s asks to wait: trying again in %s", tr.addr, tt.waits[0])) {
				t.Errorf("the log does not tell of the wait:\n%s", log.String())
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"20": 20 * time.Second, "0": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:00 GMT": 0,
	} {
		if got, ok := retryAfter(header, now); !ok || got != want {
			t.Errorf("%q: got %s, %t, want %s", header, got, ok, want)
		}
	}
	for _, header := range []string{"", "soon", "-1", "1.5", "99999999999"} {
		if got, ok := retryAfter(header, now); ok {
			t.Errorf("%q: got %s", header, got)
		}
	}
}

func TestCredentialsThatCanNotBeRead(t *testing.T) {
	bin := t.TempDir()
	for name, script := range map[string]string{
		"loggedout": "echo 'error: not logged in, please run login'; exit 1",
		"locked":    "echo 'gpg: decryption failed: No secret key' >&2; exit 2",
	} {
		if err := os.WriteFile(filepath.Join(bin, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	t.Setenv("HOME", t.TempDir())
	tr := startRegistry(t)
	public, private := testImage(t, "arm64", 2), testImage(t, "arm64", 1)
	for name, config := range map[string]string{
		"a program that is missing":             `{"credsStore": "desktop"}`,
		"one that is missing for this registry": fmt.Sprintf(`{"credHelpers": {%q: "missing"}}`, tr.addr),
		"one that is logged out":                `{"credsStore": "loggedout"}`,
		"one that can not decrypt":              `{"credsStore": "locked"}`,
		"a configuration that is cut off":       `{"auths": {`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("DOCKER_CONFIG", dir)
			tr.answer(nil)
			tr.push(t, refA, public)
			tr.push(t, refB, private)
			tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.Contains(r.URL.Path, "/b/manifests/") {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r)
			})
			writeTestFile(t, filepath.Join(dir, "config.json"), config)

			var log strings.Builder
			o := testOptions(t, tr, "a "+refA)
			o.Reporter = progress.New(&log)
			if _, err := Download(t.Context(), o); err != nil {
				t.Errorf("a public image: %v", err)
			}
			warning := "warning: going on without credentials for " + tr.addr
			if strings.Count(log.String(), warning) != 1 {
				t.Errorf("want one warning, got\n%s", log.String())
			}
			_, err := Download(t.Context(), testOptions(t, tr, "b "+refB))
			for _, want := range []string{"pulling b (", "does not let us have it without credentials, and Docker's can not be read", "docker login " + tr.addr, "credsStore"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("a private image: got %v\nwant %q in it", err, want)
				}
			}
		})
	}
}
