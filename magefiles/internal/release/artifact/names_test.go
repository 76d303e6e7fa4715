package artifact

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamesFor(t *testing.T) {
	want := Names{
		Base: "cubeos-lab-1.2.3-rc.1-arm64", Image: "cubeos-lab-1.2.3-rc.1-arm64.img", XZ: "cubeos-lab-1.2.3-rc.1-arm64.img.xz",
		Checksum: "cubeos-lab-1.2.3-rc.1-arm64.img.xz.sha256", BlockMap: "cubeos-lab-1.2.3-rc.1-arm64.img.bmap", Manifest: "cubeos-lab-1.2.3-rc.1-arm64.manifest.json",
	}
	got := NamesFor("cubeos-lab", "1.2.3-rc.1")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if like, err := namesLike(got.Image, "1.2.3-rc.1"); err != nil || like != got {
		t.Errorf("the names that go with %s are %+v, %v", got.Image, like, err)
	}
	if got := NamesFor("cubeos", "1.2.3").In("/b").XZ; got != "/b/cubeos-1.2.3-arm64.img.xz" {
		t.Error(got)
	}
	for _, raw := range []string{
		"", "cubeos-1.2.3-arm64", "cubeos-1.2.4-arm64.img", "-1.2.3-arm64.img", "../x-1.2.3-arm64.img", "a/x-1.2.3-arm64.img", "cubeos-1.2.3-arm64.img.xz",
	} {
		if got, err := namesLike(raw, "1.2.3"); err == nil {
			t.Errorf("%q passed: %+v", raw, got)
		}
	}
}

func TestVersionOf(t *testing.T) {
	for address, want := range map[string]string{
		"https://example.org/v1.2.3/cubeos-1.2.3-arm64.img.xz": "1.2.3",
		"https://example.org/cubeos-1.2.3-rc.1-arm64.img.xz":   "1.2.3-rc.1",
		"https://example.org/cubeos-lab-1.2.3-arm64.img.xz":    "",
		"https://example.org/1.2.3-arm64.img.xz":               "",
		"https://example.org/cubeos-1.2.3-arm64.img":           "",
		"https://example.org/cubeos-1.2-arm64.img.xz":          "",
		"": "",
	} {
		got, ok := VersionOf(address, "cubeos")
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %q, %v", address, got, ok)
		}
	}
}
