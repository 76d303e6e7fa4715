package containerimage

import (
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// indexOf makes an index of images and indexes, each for the platform before it:
// OS/ARCHITECTURE/VARIANT, or "" for an entry that does not tell its platform.
func indexOf(entries ...any) v1.ImageIndex {
	index := v1.ImageIndex(empty.Index)
	for i := 0; i < len(entries); i += 2 {
		add := mutate.IndexAddendum{Add: entries[i+1].(mutate.Appendable)}
		if p := strings.Split(entries[i].(string)+"//", "/"); p[0] != "" {
			add.Platform = &v1.Platform{OS: p[0], Architecture: p[1], Variant: p[2]}
		}
		index = mutate.AppendManifests(index, add)
	}
	return index
}

// variantImage is an image whose configuration tells a variant.
func variantImage(t *testing.T, variant string) v1.Image {
	t.Helper()
	img := testImage(t, "arm64", 1)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Variant = variant
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func TestTheImageForTheBoards(t *testing.T) {
	v8, v82, v9, plain, amd64 := testImage(t, "arm64", 1), testImage(t, "arm64", 1), testImage(t, "arm64", 1), testImage(t, "arm64", 1), testImage(t, "amd64", 1)
	signature := mutate.ConfigMediaType(testImage(t, "arm64", 1), types.MediaType("application/vnd.example.signature+json"))
	pi5 := []string{"pi5-64bit"}
	both := []string{"pi5-64bit", "pi4-64bit"}
	deep := indexOf("linux/arm64/v8", v8)
	for range 6 {
		deep = indexOf("", deep)
	}
	for name, tt := range map[string]struct {
		index   v1.ImageIndex
		devices []string
		want    v1.Image
		err     string
	}{
		"v9 before v8":         {index: indexOf("linux/arm64/v9", v9, "linux/arm64/v8", v8), want: v8},
		"v8 before v9":         {index: indexOf("linux/arm64/v8", v8, "linux/arm64/v9", v9), want: v8},
		"v8.2 for both boards": {index: indexOf("linux/arm64/v8.2", v82, "linux/arm64/v8", v8), devices: both, want: v8},
		"v8.2 for a Pi 5":      {index: indexOf("linux/arm64/v8", v8, "linux/arm64/v8.2", v82), devices: pi5, want: v82},
		"no variant":           {index: indexOf("linux/amd64", amd64, "linux/arm64", plain, "linux/arm64/v9", v9), want: plain},
		"the first of two":     {index: indexOf("linux/arm64", plain, "linux/arm64/v8", v8), want: plain},
		"v9 alone": {index: indexOf("linux/arm64/v9", v9),
			err: "it is not made for linux/arm64/v8, only for linux/arm64/v9: choose a tag that is"},
		"v9, v8.5 and amd64 for a Pi 5": {index: indexOf("linux/arm64/v9", v9, "linux/arm64/v8.5", v82, "linux/amd64", amd64), devices: pi5,
			err: "it is not made for linux/arm64/v8.2, only for linux/amd64, linux/arm64/v8.5, linux/arm64/v9"},
		"an unknown variant": {index: indexOf("linux/arm64/next", v9), err: "not made for linux/arm64/v8, only for linux/arm64/next"},

		"an index in an index":        {index: indexOf("linux/arm64", indexOf("linux/amd64", amd64, "linux/arm64/v8", v8)), want: v8},
		"one without a platform":      {index: indexOf("", indexOf("linux/amd64", amd64, "linux/arm64/v8", v8)), want: v8},
		"one for others":              {index: indexOf("linux/amd64", indexOf("linux/arm64/v8", v9), "linux/arm64", v8), want: v8},
		"v9 in it":                    {index: indexOf("linux/arm64/v8", indexOf("linux/arm64/v9", v9)), err: "not made for linux/arm64/v8, only for linux/arm64/v9"},
		"the better one inside":       {index: indexOf("linux/arm64", plain, "", indexOf("linux/arm64/v8.2", v82)), devices: pi5, want: v82},
		"too many inside one another": {index: deep, err: "more than 4 indexes are inside one another"},

		"an entry without a platform":  {index: indexOf("", amd64, "", plain), want: plain},
		"its configuration tells v9":   {index: indexOf("", variantImage(t, "v9")), err: "not made for linux/arm64/v8, only for linux/arm64/v9"},
		"a signature beside the image": {index: indexOf("", signature, "unknown/unknown", amd64, "linux/arm64", plain), want: plain},
		"nothing but a signature":      {index: indexOf("", signature), err: "it is not made for linux/arm64, for no platform"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := startRegistry(t)
			tr.push(t, refA, tt.index)
			o := testOptions(t, tr, "a "+refA)
			o.Devices = tt.devices
			got, err := Download(t.Context(), o)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got  %v\nwant %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Lock[0].Digest != digestOf(t, tt.want) {
				t.Errorf("chose %s, want %s", got.Lock[0].Digest, digestOf(t, tt.want))
			}
		})
	}
}

// A single manifest, or a locked one, is known by its configuration alone.
func TestASingleImageForOtherBoards(t *testing.T) {
	tr := startRegistry(t)
	tr.push(t, refA, variantImage(t, "v9"))
	o := testOptions(t, tr, "a "+refA)
	if _, err := Download(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not made for linux/arm64/v8, only for linux/arm64/v9") {
		t.Errorf("got %v", err)
	}
}

func TestLayersThatAreNotThoseOfTheConfiguration(t *testing.T) {
	change := func(diffIDs func([]v1.Hash) []v1.Hash) v1.Image {
		img := testImage(t, "arm64", 2)
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.RootFS.DiffIDs = diffIDs(config.RootFS.DiffIDs)
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		return img
	}
	for name, tt := range map[string]struct {
		img  v1.Image
		want string
	}{
		"other":   {change(func(ids []v1.Hash) []v1.Hash { ids[1].Hex = strings.Repeat("a", 64); return ids }), "it is broken: layer 2, sha256:"},
		"swapped": {change(func(ids []v1.Hash) []v1.Hash { return []v1.Hash{ids[1], ids[0]} }), "it is broken: layer "},
		"fewer":   {change(func(ids []v1.Hash) []v1.Hash { return ids[:1] }), "has 2 layers, its configuration tells of 1"},
		"none":    {change(func([]v1.Hash) []v1.Hash { return nil }), "has 2 layers, its configuration tells of 0"},
		"more":    {change(func(ids []v1.Hash) []v1.Hash { return append(ids, ids[0]) }), "has 2 layers, its configuration tells of 3"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := startRegistry(t)
			tr.push(t, refA, tt.img)
			o := testOptions(t, tr, "a "+refA)
			_, err := Download(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "pulling a ("+refA) {
				t.Errorf("got  %v\nwant %q in it", err, tt.want)
			}
			if got := files(t, o.Dir); len(got) > 0 {
				t.Errorf("left %v", got)
			}
		})
	}
}

func TestAManifestThatIsTwoThings(t *testing.T) {
	for name, document := range map[string]string{
		"neither": `{"schemaVersion": 2}`,
		"both":    fmt.Sprintf(`{"schemaVersion": 2, "manifests": [], "config": {"digest": %q}}`, digestA),
		"old":     `{"schemaVersion": 1, "fsLayers": []}`,
	} {
		t.Run(name, func(t *testing.T) {
			tr := startRegistry(t)
			tr.answer(manifestIs("application/vnd.docker.distribution.manifest.v2+json", document))
			_, err := Download(t.Context(), testOptions(t, tr, "a "+refA))
			if err == nil || !strings.Contains(err.Error(), "its manifest") {
				t.Errorf("got %v", err)
			}
		})
	}
}
