package standin

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

func TestRegistryKeepsWhatIsPushed(t *testing.T) {
	addr, dir := standintest.Addrs(t, 1)[0], filepath.Join(t.TempDir(), "registry")
	run(t, "registry", "REGISTRY_HTTP_ADDR="+addr, "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="+dir)
	resp, err := http.Get("http://" + addr + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Docker-Distribution-Api-Version"); resp.StatusCode != 200 || got != "registry/2.0" {
		t.Errorf("/v2/: %s, version %q; want 200, registry/2.0", resp.Status, got)
	}

	pushed, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(addr + "/apps/own:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, pushed); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Error(err)
	}
	if blobs, err := filepath.Glob(filepath.Join(dir, "sha256", "*")); err != nil || len(blobs) != 3 {
		t.Errorf("its directory holds %v (%v), want a configuration and two layers", blobs, err)
	}
}
