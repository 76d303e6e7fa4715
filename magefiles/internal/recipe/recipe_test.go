package recipe

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const repository = "../../.."

func TestProfilesGolden(t *testing.T) {
	profiles, err := Profiles(filepath.Join(repository, "packer"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lab", "lab-full", "pios", "rehearsal"}, profiles); diff != "" {
		t.Errorf("profiles (-want +got):\n%s", diff)
	}
	for _, profile := range profiles {
		t.Run(profile, func(t *testing.T) {
			r, err := LoadProfile(repository, profile, map[string]string{"version": "1.2.3"})
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := r.Dump(&got); err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join("testdata/golden", profile+".json"), got.String())
			if err := r.CheckFiles("docker-images/" + profile); err != nil {
				t.Error(err)
			}
		})
	}
}

// compare compares with a file, or writes it with -update.
func compare(t *testing.T, golden, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("`go test -update` accepts this (-want +got):\n%s", diff)
	}
}

func TestRepositoryFilesAreFormatted(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repository, "packer/*.hcl"))
	if err != nil || len(files) < 3 {
		t.Fatalf("found %q, %v", files, err)
	}
	for _, f := range files {
		if err := CheckFormat(f); err != nil {
			t.Error(err)
		}
	}
}

// The version must not reach a slow provisioner: it would be run again for
// every release.
func TestOnlyTheLastProvisionerDependsOnTheVersion(t *testing.T) {
	load := func(version string) *Recipe {
		r, err := LoadProfile(repository, "lab", map[string]string{"version": version})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b := load("1.0.0"), load("2.0.0")
	last := len(a.Provisioners) - 1
	if diff := cmp.Diff(a.Provisioners[:last], b.Provisioners[:last]); diff != "" {
		t.Errorf("a new version changes a provisioner before the last:\n%s", diff)
	}
	if cmp.Equal(a.Provisioners[last], b.Provisioners[last]) {
		t.Error("a new version does not change the last provisioner")
	}
	if digestOf(t, a) == digestOf(t, b) {
		t.Error("a new version does not change the recipe's digest")
	}
}

func TestDigestDoesNotDependOnThePlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "packer"), os.DirFS(filepath.Join(repository, "packer"))); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"version": "1.2.3"}
	here, err := LoadProfile(repository, "pios", vars)
	if err != nil {
		t.Fatal(err)
	}
	there, err := LoadProfile(dir, "pios", vars)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := digestOf(t, here), digestOf(t, there); a != b || len(a) != 64 {
		t.Errorf("digests %s and %s", a, b)
	}
}

func digestOf(t *testing.T, r *Recipe) string {
	t.Helper()
	d, err := r.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func loadAll(t *testing.T, vars map[string]string) *Recipe {
	t.Helper()
	r, err := Load(Options{Root: "testdata/good", TemplateFile: "packer/all.pkr.hcl", VarFile: "packer/all.pkrvars.hcl", Vars: vars})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEvaluation(t *testing.T) {
	root, err := filepath.Abs("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	r := loadAll(t, map[string]string{"greeting": "it's", "flag": "true"})
	ignore := cmp.Options{cmpopts.IgnoreTypes(hcl.Range{}), cmpopts.IgnoreUnexported(Source{}, Partition{})}
	source := Source{
		Type: "arm", Name: "all",
		FileURLs:            []string{"https://example.org/all.img"},
		FileChecksum:        "acff736ca7945e3b305f07cda4abdb870910e12634991da69783611756e381b3",
		FileTargetExtension: "img",
		ImagePath:           root + "/out/all.img",
		Partitions: []Partition{
			{Name: "boot", Type: "c", StartSector: 2048, Size: "64M", SizeBytes: 64 << 20, Filesystem: "vfat", Mountpoint: "/boot/firmware"},
			{Name: "root", Type: "83", StartSector: 133120, Size: "0", Filesystem: "ext4", Mountpoint: "/"},
		},
		ChrootEnv: []string{"PATH=/bin", "TOKEN=speech-token"},
	}
	if diff := cmp.Diff(source, r.Source, ignore); diff != "" {
		t.Errorf("source (-want +got):\n%s", diff)
	}
	packers := []string{"PACKER_BUILDER_TYPE=arm", "PACKER_BUILD_NAME=all"}
	provisioners := []Provisioner{
		{
			Type: Shell, Name: "one", Scripts: []string{root + "/scripts/one.sh"},
			Env: []string{
				"A=IT'S!", "BOTH=speech and speech-token", "BUILD=arm.all", "EMPTY=", "EQUALS=a=b=c", "PACKER_BUILDER_TYPE=arm",
				"PACKER_BUILD_NAME=mine", "Z=wins",
			},
			ExecuteCommand: "env {{.Vars}} bash '{{ .Path }}'",
		},
		{
			Type: Shell, Scripts: []string{root + "/packer/scripts/two.sh", root + "/packer/scripts/nobody.sh"},
			Env: packers, ExecuteCommand: DefaultExecuteCommand,
		},
		{Type: Shell, Inline: []string{"echo TWO", "echo 2 4 1"}, Env: packers, ExecuteCommand: DefaultExecuteCommand},
		{Type: File, Sources: []string{root + "/packer/files/"}, Destination: "/"},
		{Type: File, Sources: []string{root + "/a.txt", "/abs/b.txt"}, Destination: "/etc/"},
	}
	if diff := cmp.Diff(provisioners, r.Provisioners, ignore); diff != "" {
		t.Errorf("provisioners (-want +got):\n%s", diff)
	}
	var labels []string
	for _, p := range r.Provisioners {
		labels = append(labels, p.Label())
	}
	if diff := cmp.Diff([]string{"one", "two", "shell at line 107", "files to /", "files to /etc/"}, labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestVariables(t *testing.T) {
	v := loadAll(t, map[string]string{"names": `["x", "y"]`, "count": "7"}).Variables()
	got := []any{v.String("greeting"), v.Int("count"), v.Bool("flag"), v.Strings("names"), v.Strings("untyped")}
	if diff := cmp.Diff([]any{"file", int64(7), false, []string{"x", "y"}, []string{"a", "1"}}, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	v.String("missing")
	v.String("nothing")
	v.Int("greeting")
	v.String("count")
	v.Bool("machine")
	err := v.Err()
	for _, want := range []string{
		`"missing" is needed, but not declared`,
		`"nothing" is null (packer/all.pkr.hcl:31,13-17)`,
		`"greeting" is a string, but has to be a number`,
		`"count" is a number, but has to be a string`,
		`"machine" is not usable`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestBadArguments(t *testing.T) {
	_, err := Load(Options{Root: "testdata/good", TemplateFile: "packer/all.pkr.hcl", Vars: map[string]string{
		"count": "many", "flag": "perhaps(", "names": "[1, 2", "stranger": "x", "greeting": "fine",
	}})
	for _, want := range []string{
		`the recipe has 4 problems`,
		`on <value given for var.count> line 1`, `The variable "count" is a number: a number is required.`,
		`on <value given for var.flag> line 1`,
		`on <value given for var.names> line 1`,
		`A value was given for "stranger", but the recipe has no such variable`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v,\nwant %s", err, want)
		}
	}
}

func TestFilesThatCanNotBeLoaded(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Root: "testdata", TemplateFile: "gone.pkr.hcl"}, "gone.pkr.hcl: no such file"},
		{Options{Root: "testdata", TemplateFile: "recipe.json"}, "end in .pkr.hcl"},
		{Options{Root: "testdata/good", TemplateFile: "packer/all.pkr.hcl", VarFile: "vars.hcl"}, "end in .pkrvars.hcl"},
		{Options{Root: "testdata/good", TemplateFile: "packer/all.pkr.hcl", VarFile: "gone.pkrvars.hcl"}, "no such file"},
	} {
		if _, err := Load(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Load(%+v): got %v, want %s", tt.o, err, tt.want)
		}
	}
}

func TestUnknownProfile(t *testing.T) {
	_, err := LoadProfile(repository, "mars", nil)
	if err == nil || !strings.Contains(err.Error(), `unknown profile "mars"`) || !strings.Contains(err.Error(), "lab, lab-full, pios, rehearsal") {
		t.Errorf("got %v, want the known profiles", err)
	}
}

func TestAProfileHasNamesOfItsOwn(t *testing.T) {
	for name, tt := range map[string]struct{ old, new, file, want string }{
		"profile of another file": {
			`profile    = "lab"`, `profile    = "attic"`, "lab", `line 4: 4: profile = "attic" The profile is "attic", but the name of its var-file says "lab"`,
		},
		"image name of another profile": {
			`image_name = "cubeos-lab"`, `image_name = "cubeos"`, "lab", `line 5: 5: image_name = "cubeos" The images of the profile "pios" are called "cubeos", too`,
		},
		"another profile that can not be read": {
			`profile    = "lab"`, `profile    = `, "pios", "on packer/lab.pkrvars.hcl line 4: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "packer"), os.DirFS(filepath.Join(repository, "packer"))); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "packer/lab.pkrvars.hcl")
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after := strings.Replace(string(before), tt.old, tt.new, 1)
			if err := os.WriteFile(file, []byte(after), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err = LoadProfile(dir, tt.file, map[string]string{"version": "1.2.3"})
			if err == nil || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestPublishing(t *testing.T) {
	for name, tt := range map[string]struct {
		profile string
		vars    map[string]string
		want    string
	}{
		"a bootstrapped base image": {"lab", map[string]string{"publishable": "true"}, "made from a bootstrapped base image"},
		"stand-ins":                 {"pios", map[string]string{"container_source": "stand-ins"}, "An image of stand-ins"},
		"no address":                {"pios", map[string]string{"release_url_base": ""}, "set release_url_base"},
		"no place":                  {"pios", map[string]string{"publish_to": "[]"}, "set publish_to"},
		"a place for nothing":       {"lab", map[string]string{"publish_to": `["github:a/b"]`}, "not publishable: leave it out"},
		"an address for nothing":    {"lab", map[string]string{"release_url_base": "https://example.org/v{version}"}, "they have no address"},
	} {
		tt.vars["version"] = "1.2.3"
		_, err := LoadProfile(repository, tt.profile, tt.vars)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), " line ") {
			t.Errorf("%s: got %v, want %q with its line", name, err, tt.want)
		}
	}
}

func TestLocalValuesByEveryName(t *testing.T) {
	r, err := Load(Options{Root: "testdata/good", TemplateFile: "packer/named.pkr.hcl"})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{r.Provisioners[0].Scripts, r.Provisioners[0].Env, r.Provisioners[1].Scripts}
	want := []any{
		[]string{"/p/scripts/a.sh"},
		[]string{"ALL=a,b,c,deep,z", "B=/p", "PACKER_BUILDER_TYPE=arm", "PACKER_BUILD_NAME=named", "Z=/p"},
		[]string{"/p/scripts/c.sh"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
