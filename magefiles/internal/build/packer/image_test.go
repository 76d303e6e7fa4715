package packer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

func TestCredentialsAreDockersOwn(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	secret := base64.StdEncoding.EncodeToString([]byte("user:secret"))
	config := `{"auths":{"https://index.docker.io/v1/":{"auth":"` + secret + `"},"localhost:5000":{"auth":"` + secret + `"}}}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[string]string{
		"docker.io/a/builder:1":       "secret",
		"localhost:5000/builder:1":    "secret",
		"registry.example/builder:1":  "",
		"docker.io/library/builder:1": "secret",
	} {
		encoded, err := Builder{Reference: reference}.credentials()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.URLEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Password string }
		if err := json.Unmarshal(raw, &got); err != nil || got.Password != want {
			t.Errorf("%s: password %q, %v, want %q", reference, got.Password, err, want)
		}
	}
}

// A desktop installation leaves a credsStore behind whose program is gone.
func TestPullWithoutCredentials(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"credsStore": "missing"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	asked := 0
	daemon := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/images/create") {
			return
		}
		if asked++; asked > 1 {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"message": "denied"}`)
		}
	}))
	defer daemon.Close()
	docker, err := client.NewClientWithOpts(client.WithHost("tcp://" + strings.TrimPrefix(daemon.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	b := Builder{Reference: "ghcr.io/example/builder:1"}
	if err := b.pull(t.Context(), docker, "amd64", progress.New(&log)); err != nil || !strings.Contains(log.String(), "warning: pulling it without credentials") {
		t.Errorf("a public image: %v, log:\n%s", err, log.String())
	}
	err = b.pull(t.Context(), docker, "amd64", progress.New(&log))
	if err == nil || !strings.Contains(err.Error(), "refuses without credentials") || !strings.Contains(err.Error(), "credsStore") {
		t.Errorf("a private image: %v", err)
	}
}

func TestFollowingAPull(t *testing.T) {
	good := `{"status":"Downloading","progressDetail":{"current":5,"total":9},"id":"a"}` + "\n" + `{"status":"Downloading","progressDetail":{"current":9,"total":9},"id":"a"}`
	if err := follow(strings.NewReader(good), nil); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		good + `{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}`: "no space left",
		good + `{"status":"Downl`: "following the pull",
	} {
		if err := follow(strings.NewReader(text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
