package hosts

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// stranger asks a server over TLS.
type stranger struct {
	t       *testing.T
	client  *http.Client
	address string
	token   string
}

func (s *stranger) get(path string) (int, http.Header, []byte, error) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "https://"+s.address+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, body, err
}

// newStranger serves a registry with one image, app/one:1, and returns its layer.
func newStranger(t *testing.T) (s *stranger, layer string) {
	t.Helper()
	r := NewRegistry()
	inside := httptest.NewServer(r.Fill)
	t.Cleanup(inside.Close)
	img, err := random.Image(300_000, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(strings.TrimPrefix(inside.URL, "http://") + "/app/one:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	address, stop, err := authority.Serve(context.WithoutCancel(t.Context()), r.Strangers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool(), MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &stranger{t: t, client: &http.Client{Transport: transport}, address: address}, manifest.Layers[0].Digest.String()
}

func TestARegistryForStrangers(t *testing.T) {
	s, layer := newStranger(t)
	status, header, _, _ := s.get("/v2/app/one/manifests/1")
	if challenge := header.Get("WWW-Authenticate"); status != 401 || !strings.Contains(challenge, `scope="repository:app/one:pull"`) {
		t.Fatalf("without a token: %d, %s", status, challenge)
	}
	if status, _, _, _ := s.get("/token?scope=repository:app/one:pull,push"); status != 403 {
		t.Errorf("a token to write: %d", status)
	}
	_, _, body, _ := s.get("/token?scope=repository:app/one:pull")
	var given struct{ Token string }
	if err := json.Unmarshal(body, &given); err != nil || given.Token == "" {
		t.Fatalf("no token in %q: %v", body, err)
	}
	s.token = given.Token
	if status, header, _, _ := s.get("/v2/app/one/manifests/1"); status != 429 || header.Get("Retry-After") != "1" {
		t.Errorf("the first question is answered with %d, want that there are too many", status)
	}
	if status, _, _, _ := s.get("/v2/app/one/manifests/1"); status != 200 {
		t.Errorf("the second question is answered with %d", status)
	}
	if status, _, _, _ := s.get("/v2/app/two/manifests/1"); status != 401 {
		t.Errorf("the token opens another repository: %d", status)
	}
	if _, _, half, err := s.get("/v2/app/one/blobs/" + layer); err == nil || len(half) == 0 || len(half) > untilCut {
		t.Errorf("the first layer came with %d bytes and %v, want a cut connection", len(half), err)
	}
	status, _, whole, err := s.get("/v2/app/one/blobs/" + layer)
	if status != 200 || err != nil || !bytes.HasPrefix(whole, []byte{0x1f, 0x8b}) && len(whole) < 300_000 {
		t.Errorf("the second time: %d, %d bytes, %v", status, len(whole), err)
	}
}
