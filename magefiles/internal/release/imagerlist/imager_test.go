package imagerlist

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

func manifest(t *testing.T, profile string) artifact.Manifest {
	t.Helper()
	names := artifact.NamesFor(map[string]string{"pios": "cubeos", "lab": "cubeos-lab"}[profile], "1.2.3")
	sum := func(s string) string { return strings.Repeat(s, 32) }
	return artifact.Manifest{
		SchemaVersion: artifact.SchemaVersion, Version: "1.2.3", Profile: profile, Publishable: profile == "pios",
		Commit: strings.Repeat("0123456789", 4), SourceDateEpoch: 1767225600, Created: time.Date(2026, 1, 2, 23, 0, 0, 0, time.FixedZone("", -7200)),
		BaseImage:       artifact.BaseImage{URL: "https://example.org/base.img.xz", SHA256: sum("ab"), InitFormat: "cloudinit-rpi"},
		RecipeDigest:    sum("cd"),
		ContainerImages: []artifact.ContainerImage{{Name: "api", Reference: "ghcr.io/cubeos-app/api:1.0.0", Digest: "sha256:" + sum("ef")}},
		DebianPackages:  map[string]string{"adduser": "3.152"},
		PartitionTable:  artifact.PartitionTable{DiskID: "0a1b2c3d", Partitions: []artifact.Partition{{Number: 1, Start: 1 << 20, Size: 1 << 20}}},
		RawImage:        artifact.File{Name: names.Image, Size: 4 << 20, SHA256: sum("12")},
		Compressed:      artifact.File{Name: names.XZ, Size: 12345, SHA256: sum("34")},
		BlockMap:        artifact.File{Name: names.BlockMap, Size: 678, SHA256: sum("56")},
	}
}

func listing() Listing {
	return Listing{
		Name: "CubeOS", Description: "A home server & more", Icon: "https://cubeos.example.org/icon.png", Website: "https://cubeos.example.org/",
		URL: "https://cubeos.example.org/v1.2.3/cubeos-1.2.3-arm64.img.xz", Devices: []string{"pi4-64bit"},
	}
}

const existing = `{
  "imager": {
    "latest_version": "2.0"
  },
  "os_list": [
    {
      "name": "Before & >it",
      "description": "kept",
      "subitems_url": "https://example.org/a&b.json",
      "zzz_unknown": 12345678901234567890
    },
    {
      "name": "CubeOS",
      "description": "an old one",
      "subitems": []
    },
    {
      "name": "After",
      "description": "kept",
      "subitems": []
    }
  ]
}
`

const entry = `    {
      "name": "CubeOS",
      "description": "A home server & more",
      "icon": "https://cubeos.example.org/icon.png",
      "website": "https://cubeos.example.org/",
      "url": "https://cubeos.example.org/v1.2.3/cubeos-1.2.3-arm64.img.xz",
      "extract_size": 4194304,
      "extract_sha256": "1212121212121212121212121212121212121212121212121212121212121212",
      "image_download_size": 12345,
      "image_download_sha256": "3434343434343434343434343434343434343434343434343434343434343434",
      "release_date": "2026-01-03",
      "init_format": "cloudinit-rpi",
      "architecture": "armv8",
      "devices": [
        "pi4-64bit"
      ]
    }`

func TestReleaseReplacesOnlyItsOwnEntry(t *testing.T) {
	before, after, _ := strings.Cut(existing, "    {\n      \"name\": \"CubeOS\",\n      \"description\": \"an old one\",\n      \"subitems\": []\n    }")
	for name, tt := range map[string]struct{ before, want string }{
		"no list yet":   {"", "{\n  \"os_list\": [\n" + entry + "\n  ]\n}\n"},
		"an empty list": {`{"os_list": []}`, "{\n  \"os_list\": [\n" + entry + "\n  ]\n}\n"},
		"other entries": {existing, before + entry + after},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rpi-imager.json")
			if tt.before != "" {
				if err := os.WriteFile(path, []byte(tt.before), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time changes nothing
				if err := Release(path, manifest(t, "pios"), listing()); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if diff := cmp.Diff(tt.want, string(got)); diff != "" || err != nil {
					t.Error(err, diff)
				}
			}
			if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
				t.Errorf("left %v", files)
			}
		})
	}
}

func TestReleaseRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		profile string
		change  func(*artifact.Manifest, *Listing)
		list    string
		want    []string
	}{
		"a lab image":            {profile: "lab", change: func(_ *artifact.Manifest, l *Listing) { l.URL = strings.Replace(l.URL, "os-1", "os-lab-1", 1) }, want: []string{"not publishable"}},
		"a dirty build":          {change: func(m *artifact.Manifest, _ *Listing) { m.Publishable = false }, want: []string{"not publishable"}},
		"an unknown init_format": {change: func(m *artifact.Manifest, _ *Listing) { m.BaseImage.InitFormat = "cloud-init" }, want: []string{"/os_list/0/init_format"}},
		"no init_format":         {change: func(m *artifact.Manifest, _ *Listing) { m.BaseImage.InitFormat = "" }, want: []string{"no init_format"}},
		"everything at once":     {change: func(_ *artifact.Manifest, l *Listing) { *l = Listing{URL: "x.img.xz"} }, want: []string{"no name", "no description", "icon:", "url:", "no devices"}},
		"another file":           {change: func(_ *artifact.Manifest, l *Listing) { l.URL = "https://example.org/other.img.xz" }, want: []string{"want the address of cubeos-1.2.3-arm64.img.xz"}},
		"a local file":           {change: func(_ *artifact.Manifest, l *Listing) { l.URL = "file:///b/cubeos-1.2.3-arm64.img.xz" }, want: []string{"public https"}},
		"an invalid icon":        {change: func(_ *artifact.Manifest, l *Listing) { l.Icon = "https://lab.invalid/icon.png" }, want: []string{"icon:"}},
		"a manifest with holes":  {change: func(m *artifact.Manifest, _ *Listing) { m.RawImage.SHA256 = "" }, want: []string{"raw_image"}},
		"a placeholder":          {change: func(_ *artifact.Manifest, l *Listing) { l.Website = "https://example.org/<page>" }, want: []string{"/os_list/0/website is a placeholder"}},
		"another's placeholder":  {list: `{"os_list": [{"name": "x", "description": "y", "subitems_url": "PLACEHOLDER"}]}`, want: []string{"/os_list/0/subitems_url is a placeholder"}},
		"a broken list":          {list: `{"os_list": [`, want: []string{"not valid"}},
		"a list of nothing":      {list: `{"os_list": [{"name": "x"}]}`, want: []string{"not valid"}},
		"an unknown part":        {list: `{"os_list": [], "more": 1}`, want: []string{"more"}},
		"two of one name": {list: `{"os_list": [{"name": "CubeOS", "description": "", "subitems": []}, {"name": "CubeOS", "description": "", "subitems": []}]}`,
			want: []string{"two entries are called CubeOS"}},
		"two of one name at different depths": {list: `{"os_list": [{"name": "All", "description": "", "subitems": [{"name": "CubeOS"}]}, {"name": "CubeOS", "description": "", "subitems": []}]}`,
			want: []string{"two entries are called CubeOS"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rpi-imager.json")
			before := tt.list
			if before == "" {
				before = `{"os_list":[]}`
			}
			if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
			profile := tt.profile
			if profile == "" {
				profile = "pios"
			}
			m, l := manifest(t, profile), listing()
			if tt.change != nil {
				tt.change(&m, &l)
			}
			err := Release(path, m, l)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if got, _ := os.ReadFile(path); string(got) != before {
				t.Errorf("the list was changed to %s", got)
			}
		})
	}
}

func TestTrialTakesALabImage(t *testing.T) {
	dir := t.TempDir()
	m, l := manifest(t, "lab"), listing()
	address, err := FileURL(filepath.Join(dir, "a b", m.Compressed.Name))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(address, "file:///") || !strings.Contains(address, "a%20b/") {
		t.Errorf("got %s", address)
	}
	l.URL, l.Icon = address, "https://lab.invalid/icon.png"
	path := filepath.Join(dir, "rpi-imager.json")
	if err := Trial(path, m, l); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(content); err != nil {
		t.Error(err)
	}
	l.URL = "ftp://example.org/" + m.Compressed.Name
	if err := Trial(path, m, l); err == nil {
		t.Error("an ftp address was taken")
	}
}

func TestDownloadURL(t *testing.T) {
	got, err := DownloadURL("https://github.com/cubeos-app/releases/releases/download/v1.2.3", "cubeos-1.2.3+g1-arm64.img.xz")
	if want := "https://github.com/cubeos-app/releases/releases/download/v1.2.3/cubeos-1.2.3+g1-arm64.img.xz"; got != want || err != nil {
		t.Error(got, err)
	}
}

func TestRepositorysListIsValid(t *testing.T) {
	content, err := os.ReadFile("../../../../rpi-imager.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := Validate(content); err != nil {
		t.Error(err)
	}
}

func TestOffered(t *testing.T) {
	m, l := manifest(t, "pios"), listing()
	list, err := Merge([]byte(existing), m, l)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ list, want, err string }{
		"ours":          {string(list), l.URL, ""},
		"no list":       {"", "", ""},
		"none of ours":  {`{"os_list": []}`, "", ""},
		"in a list":     {`{"os_list": [{"name": "All", "description": "", "subitems": [{"name": "CubeOS", "url": "https://example.org/x"}]}]}`, "https://example.org/x", ""},
		"a broken list": {`{"os_list": [`, "", "not valid"},
		"two of one name": {`{"os_list": [{"name": "CubeOS", "description": "", "subitems": []}, {"name": "CubeOS", "description": "", "subitems": []}]}`,
			"", "two entries are called CubeOS"},
	} {
		got, err := Offered([]byte(tt.list), l.Name)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

const schemaLine = `"$schema": "https://example.org/os-list-schema.json",`

// What stands in the list of somebody else is none of our business but for an
// entry of our own, wherever it is.
func TestReleaseKeepsOtherPeoplesLists(t *testing.T) {
	words := `{"name": "a todo app", "description": "<b>Change-me</b> TBD fixme placeholder xxxx", "icon": "data:image/png;base64,iVBORXXXXw0KGgo=", "subitems_url": "https://example.org/todo/placeholder.json"}`
	old := `{"name": "CubeOS", "description": "an old one", "url": "https://example.org/x.img.xz"}`
	for name, tt := range map[string]struct{ before, want string }{
		"other people's words": {`{"os_list": [` + words + `]}`, `{"os_list": [` + words + `, ENTRY]}`},
		"ours in a list of it": {
			`{"os_list": [{"name": "Servers", "description": "", "subitems": [` + words + `, ` + old + `, ` + words + `], "zzz": 1e2}, ` + words + `]}`,
			`{"os_list": [{"name": "Servers", "description": "", "subitems": [` + words + `, ENTRY, ` + words + `], "zzz": 1e2}, ` + words + `]}`,
		},
		"ours in a list of our name": {
			`{"os_list": [{"name": "CubeOS", "description": "all of it", "subitems": [{"name": "x", "subitems": [` + old + `]}]}]}`,
			`{"os_list": [{"name": "CubeOS", "description": "all of it", "subitems": [{"name": "x", "subitems": [ENTRY]}]}]}`,
		},
		"a list of our name without it": {
			`{"os_list": [{"name": "CubeOS", "description": "", "subitems_url": "https://example.org/more.json"}]}`,
			`{"os_list": [{"name": "CubeOS", "description": "", "subitems_url": "https://example.org/more.json"}, ENTRY]}`,
		},
		"a byte order mark": {"\ufeff" + `{"os_list": []}`, `{"os_list": [ENTRY]}`},
		"the name of the schema": {`{` + schemaLine + ` "os_list": [], "imager": {"latest_version": "2.0"}}`,
			`{` + schemaLine + ` "os_list": [ENTRY], "imager": {"latest_version": "2.0"}}`},
		"everything with nothing in it": {`{"os_list": [{"name": "x", "description": "", "icon": "", "website": "", "subitems": []}, {"name": "y", "description": "", "subitems_url": "https://example.org", "subitems": null}]}`,
			`{"os_list": [{"name": "x", "description": "", "icon": "", "website": "", "subitems": []}, {"name": "y", "description": "", "subitems_url": "https://example.org", "subitems": null}, ENTRY]}`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rpi-imager.json")
			if err := os.WriteFile(path, []byte(tt.before), 0o644); err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if err := json.Indent(&want, []byte(strings.ReplaceAll(tt.want, "ENTRY", entry)), "", "  "); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time changes nothing
				if err := Release(path, manifest(t, "pios"), listing()); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(path)
				if diff := cmp.Diff(want.String()+"\n", string(got)); diff != "" || err != nil {
					t.Error(err, diff)
				}
			}
		})
	}
}

func TestOurOwnWordsAreNoPlaceholders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rpi-imager.json")
	l := listing()
	l.Description = "A <b>todo</b> app, XXXX"
	if err := Release(path, manifest(t, "pios"), l); err != nil {
		t.Error(err)
	}
}

func TestPlaceholders(t *testing.T) {
	for field, values := range map[string]struct{ good, bad []string }{
		"extract_sha256":        {[]string{strings.Repeat("Ab", 32)}, []string{"", "PLACEHOLDER", strings.Repeat("0", 64), strings.Repeat("x", 64), strings.Repeat("ab", 31), strings.Repeat("f", 64)}},
		"image_download_sha256": {[]string{strings.Repeat("12", 32)}, []string{"", strings.Repeat("0", 64)}},
		"release_date":          {[]string{"2026-01-31"}, []string{"", "YYYY-MM-DD", "2026-13-01", "soon"}},
		"url":                   {[]string{"https://example.org/a%20b.img.xz", "http://[::1]/x", "file:///x"}, []string{"", "PLACEHOLDER", "https://", "https:///x", "https://example.org/<file>", "https://example.org/v{version}/x", "https://example.org/a b", "file://x"}},
		"subitems_url":          {[]string{"https://example.org/todo"}, []string{"", "TBD"}},
		"bmap_url":              {[]string{"", "https://example.org/x.bmap"}, []string{"TBD"}},
		"website":               {[]string{"", "https://example.org"}, []string{"changeme", "www.example.org"}},
		"icon":                  {[]string{"", "icons/cat.png", "qrc:/icons/x.svg", "data:image/png;base64,XXXX", "https://example.org/i"}, []string{"PLACEHOLDER", "icon", "https://<host>/i.png"}},
		"name":                  {[]string{"PLACEHOLDER", "<b>"}, nil},
	} {
		for i, value := range append(values.good, values.bad...) {
			problems := placeholders("", map[string]any{"os_list": []any{map[string]any{"subitems": []any{map[string]any{field: value}}}}})
			if bad := i >= len(values.good); bad != (len(problems) == 1) {
				t.Errorf("%s %q: got %v, want a problem: %t", field, value, problems, bad)
			} else if bad && !strings.HasPrefix(problems[0].Error(), "/os_list/0/subitems/0/"+field+" is a placeholder") {
				t.Error(problems[0])
			}
		}
	}
	for size, want := range map[json.Number]int{"1": 0, "0": 1, "-1": 1, "1.5": 1} {
		for _, field := range []string{"extract_size", "image_download_size"} {
			if got := placeholders("", map[string]any{field: size}); len(got) != want {
				t.Errorf("%s %s: got %v", field, size, got)
			}
		}
	}
}
