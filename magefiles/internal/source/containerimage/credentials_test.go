package containerimage

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

// strangersOut makes the registry one that lets in who knows a password, and answers
// others as status says.
func (tr *testRegistry) strangersOut(status int) {
	tr.answer(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch user, password, _ := r.BasicAuth(); {
		case user == "robot" && password == "read:packages":
			next.ServeHTTP(w, r)
		case r.URL.Path == "/v2/":
			w.Header().Set("WWW-Authenticate", `Basic realm="packages"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(status)
		}
	})
}

func TestPrivateImage(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	tr := startRegistry(t)
	tr.push(t, refA, testImage(t, "arm64", 1))
	o := testOptions(t, tr, "# a comment", "a "+refA)
	auth := func(password string) string {
		secret := base64.StdEncoding.EncodeToString([]byte("robot:" + password))
		return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, tr.addr, secret)
	}
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		tr.strangersOut(status)
		for _, config := range []string{"", `{"auths": {"elsewhere.example": {"auth": "cm9ib3Q6eA=="}}}`, auth("wrong")} {
			t.Setenv(AuthVariable, config)
			_, err := Download(t.Context(), o)
			for _, want := range []string{"pulling a (" + refA + ", " + o.ListFile + ":2", "`docker login " + tr.addr + "`", AuthVariable} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("status %d, %s is %q: got %v, want %q", status, AuthVariable, config, err, want)
				}
			}
		}
	}
	t.Setenv(AuthVariable, `{"auths": {"secret`)
	if _, err := Download(t.Context(), o); err == nil || !strings.Contains(err.Error(), AuthVariable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a bad %s: %v", AuthVariable, err)
	}
	t.Setenv(AuthVariable, auth("read:packages"))
	if _, err := Download(t.Context(), o); err != nil {
		t.Error(err)
	}
}

func TestGHCRWantsAToken(t *testing.T) {
	tag, err := name.NewTag("ghcr.io/a/b:1")
	if err != nil {
		t.Fatal(err)
	}
	if got := logIn(tag.RegistryStr()); !strings.Contains(got, "`docker login ghcr.io` (the password is a token with read:packages)") {
		t.Error(got)
	}
}
