package publish

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

func TestNotes(t *testing.T) {
	before := artifact.Manifest{
		Version: "1.2.2", BaseImage: artifact.BaseImage{URL: "https://example.org/a.img.xz", SHA256: "a"},
		ContainerImages: []artifact.ContainerImage{
			{Name: "api", Reference: "ghcr.io/cubeos-app/api:1.0", Digest: "sha256:" + strings.Repeat("a", 64)},
			{Name: "hal", Reference: "ghcr.io/cubeos-app/hal:1.0", Digest: "sha256:" + strings.Repeat("a", 64)},
			{Name: "npm", Reference: "jc21/npm:2", Digest: "sha256:" + strings.Repeat("a", 64)},
		},
		DebianPackages: map[string]string{"curl": "8.14.1-2", "gone": "1", "same": "1"},
		Compressed:     artifact.File{Size: 900e6}, RawImage: artifact.File{Size: 4e9},
	}
	now := artifact.Manifest{
		Version: "1.2.3", Commit: commit, BaseImage: artifact.BaseImage{URL: "https://example.org/b.img.xz", SHA256: "b"},
		ContainerImages: []artifact.ContainerImage{
			{Name: "api", Reference: "ghcr.io/cubeos-app/api:1.1", Digest: "sha256:" + strings.Repeat("b", 64)},
			{Name: "hal", Reference: "ghcr.io/cubeos-app/hal:1.0", Digest: "sha256:" + strings.Repeat("a", 64)},
			{Name: "npm", Reference: "jc21/npm:2", Digest: "sha256:" + strings.Repeat("b", 64)},
		},
		DebianPackages: map[string]string{"curl": "8.14.1-2+deb13u1", "new:armhf": "2", "same": "1"},
		Compressed:     artifact.File{Size: 910e6}, RawImage: artifact.File{Size: 4e9},
	}
	const want = `CubeOS 1.2.3, for Raspberry Pi 4 and 5. Made from commit ` + commit + `; what has changed since 1.2.2:

Base image: https://example.org/b.img.xz

## Container images

| | before | now |
|---|---|---|
| api | ghcr.io/cubeos-app/api:1.0 (aaaaaaaaaaaa) | ghcr.io/cubeos-app/api:1.1 (bbbbbbbbbbbb) |
| npm | jc21/npm:2 (aaaaaaaaaaaa) | jc21/npm:2 (bbbbbbbbbbbb) |

## Debian packages

| | before | now |
|---|---|---|
| curl | 8.14.1-2 | 8.14.1-2+deb13u1 |
| gone | 1 |  |
| new:armhf |  | 2 |

## Sizes

| | before | now |
|---|---|---|
| download | 900MB | 910MB |
| on the card, before it grows | 4GB | 4GB |
`
	if diff := cmp.Diff(want, notes(now, before)); diff != "" {
		t.Error(diff)
	}
	first := notes(now, artifact.Manifest{})
	for _, text := range []string{"Made from commit " + commit + ".\n", "| hal |  | ghcr.io", "3 are installed", "| download |  | 910MB |"} {
		if !strings.Contains(first, text) {
			t.Errorf("%q is not in %s", text, first)
		}
	}
	same := notes(now, now)
	if strings.Contains(same, "Base image") || strings.Count(same, "The same.") != 2 {
		t.Errorf("got %s", same)
	}
	for i := range 20_000 {
		now.DebianPackages[strings.Repeat("p", i%50)+string(rune('a'+i%26))+strings.Repeat("q", i/1000)] = "1"
	}
	long := make(map[string]string)
	for i := range notesLimit / 20 {
		long["package-"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i%11)+strings.Repeat("z", i%101)] = strings.Repeat("1", 60)
	}
	now.DebianPackages = long
	if text := notes(now, before); len(text) > notesLimit+100 || len(text) < notesLimit/2 || !strings.HasSuffix(text, "\n\nThe rest is too long: compare the build manifests.\n") {
		t.Errorf("%d bytes that end in %q", len(text), text[len(text)-80:])
	}
}

func TestBefore(t *testing.T) {
	published := []string{"1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1", "1.10.1-beta", "imager", ""}
	for version, want := range map[string]string{
		"1.0.0": "", "1.1.0": "1.0.0", "1.11.0": "1.10.0", "2.0.0": "1.10.0", "2.0.0-rc.2": "2.0.0-rc.1", "1.10.1-rc.1": "1.10.1-beta", "0.1.0": "",
	} {
		if got := before(version, published); got != want {
			t.Errorf("%s: got %q, want %q", version, got, want)
		}
	}
}

// The rule is in the recipe, too, where Packer checks it.
func TestPlacesAreTheRecipes(t *testing.T) {
	load := func(place string) error {
		_, err := recipe.LoadProfile("../../../..", "pios", map[string]string{"version": "1.2.3", "publish_to": `["` + place + `"]`})
		return err
	}
	for text, want := range map[string]Place{
		"github:cubeos-app/releases":                {GitHub, "https://github.com", "cubeos-app/releases"},
		"github:https://ghe.example.org:8443/a/b.c": {GitHub, "https://ghe.example.org:8443", "a/b.c"},
		"gitlab:a/b":       {GitLab, "https://gitlab.com", "a/b"},
		"gitlab:a/b/c/d_e": {GitLab, "https://gitlab.com", "a/b/c/d_e"},
		"gitlab:https://gitlab.example.org/group/sub/cubeos": {GitLab, "https://gitlab.example.org", "group/sub/cubeos"},
	} {
		got, err := ParsePlace(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %+v, %s, %v", text, got, got, err)
		}
		if err := load(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if got, err := ParsePlace("gitlab:https://gitlab.com/a/b"); err != nil || got.String() != "gitlab:a/b" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, text := range []string{
		"", "cubeos-app/releases", "github:", "github:a", "github:a/b/c", "github:a/b/", "gitlab:a", "gitlab:/a/b", "gitea:a/b",
		"github:http://example.org/a/b", "github:https://user@example.org/a/b", "github:https://example.org", "github:a/b c", "github:a/b?c",
	} {
		if got, err := ParsePlace(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
		if err := load(text); err == nil || !strings.Contains(err.Error(), "publish to") {
			t.Errorf("the recipe takes %q: %v", text, err)
		}
	}
}

func TestDownloads(t *testing.T) {
	for place, want := range map[string]string{
		"github:cubeos-app/releases":           "https://github.com/cubeos-app/releases/releases/download/v{version}",
		"gitlab:https://git.example.org/a/b/c": "https://git.example.org/a/b/c/-/releases/v{version}/downloads",
	} {
		p, err := ParsePlace(place)
		if err != nil || p.Downloads() != want {
			t.Errorf("%s: got %s, %v", place, p.Downloads(), err)
		}
	}
}
