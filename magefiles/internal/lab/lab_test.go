package lab

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
)

const moduleDir = "../../.."

func everyService(t *testing.T) services.List {
	t.Helper()
	all, err := services.Read(moduleDir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// compiles is for a test that makes the stand-ins' arm64 program, and with an
// empty build cache half of the standard library.
func compiles(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it compiles for arm64: test:integration runs it")
	}
}

func TestRegistryServesStandinsForTheRealList(t *testing.T) {
	compiles(t)
	list := filepath.Join(moduleDir, "skopeo", "images.txt")
	images, err := containerimage.ReadList(list)
	if err != nil {
		t.Fatal(err)
	}
	all := everyService(t)
	o := containerimage.Options{ListFile: list, CacheDir: t.TempDir()}
	var sums [2]string
	for i := range sums {
		mirror, stop, err := StartRegistry(t.Context(), Options{ModuleDir: moduleDir, Services: all, Images: images})
		if err != nil {
			t.Fatal(err)
		}
		o.Mirror, o.Dir = mirror, filepath.Join(t.TempDir(), "archives")
		if i > 0 {
			o.CacheDir = t.TempDir()
		}
		got, err := containerimage.Download(t.Context(), o)
		if err := errors.Join(err, stop()); err != nil {
			t.Fatal(err)
		}
		if _, err := net.Dial("tcp", mirror); err == nil {
			t.Error("something still listens after stop")
		}
		if i == 0 {
			for _, img := range got.Images {
				service, ok := all.Named(img.Name)
				if !ok {
					t.Fatalf("%s is no service", img.Name)
				}
				checkArchive(t, img, service)
			}
		}
		data, err := os.ReadFile(filepath.Join(o.Dir, containerimage.SumsFile))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(data)
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		t.Errorf("the same source made other images (-first +second):\n%s", diff)
	}
	if n := strings.Count(sums[0], "\n"); n != len(all) {
		t.Errorf("%d archives, want %d", n, len(all))
	}
}

// checkArchive checks that img is an arm64 program with what Docker needs to run it.
func checkArchive(t *testing.T, img containerimage.Image, service services.Service) {
	t.Helper()
	tag, err := name.NewTag(img.Reference)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tarball.ImageFromPath(img.Archive, &tag)
	if err != nil {
		t.Fatalf("%s under its own reference: %v", img.Archive, err)
	}
	config, err := loaded.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/" + binaryPath, img.Name}, config.Config.Entrypoint); diff != "" {
		t.Errorf("%s: entry point (-want +got):\n%s", img.Name, diff)
	}
	if config.Architecture != "arm64" {
		t.Errorf("%s: configuration is %+v", img.Name, config)
	}
	own := standin.ImageOf(img.Name)
	if has, want := config.Config.Healthcheck != nil, own.Health != nil; has != want {
		t.Errorf("%s: it has a health check: %t, as the real one: %t", img.Name, has, want)
	}
	ports := map[string]struct{}{}
	for _, p := range service.Ports {
		for _, protocol := range p.Protocols {
			ports[fmt.Sprintf("%d/%s", p.Container(), protocol)] = struct{}{}
		}
	}
	if diff := cmp.Diff(ports, config.Config.ExposedPorts); diff != "" {
		t.Errorf("%s: ports (-want +got):\n%s", img.Name, diff)
	}
	root := t.TempDir()
	fs := mutate.Extract(loaded)
	defer fs.Close()
	file := filepath.Join(root, "fs.tar")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, fs); err != nil {
		t.Fatal(err)
	}
	for path, want := range own.Files {
		if got := extract(t, file, strings.TrimPrefix(path, "/")); got != want {
			t.Errorf("%s: %s holds %q", img.Name, path, got)
		}
	}
	binary := extract(t, file, binaryPath)
	f, err := elf.NewFile(strings.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	if libs, err := f.ImportedLibraries(); f.Machine != elf.EM_AARCH64 || err != nil || len(libs) > 0 {
		t.Errorf("%s: machine %s, libraries %v (%v); want a static arm64 program", img.Name, f.Machine, libs, err)
	}
	if img.Size > 8<<20 {
		t.Errorf("%s is %d bytes large, want a small image", img.Name, img.Size)
	}
}

func TestEveryServiceHasAStandInAndEveryStandInAService(t *testing.T) {
	names := slices.Sorted(slices.Values(everyService(t).Names()))
	if diff := cmp.Diff(names, standin.Names()); diff != "" {
		t.Errorf("%s lists (-), %s has (+):\n%s", services.File, standinPackage, diff)
	}
}

func TestServicesWithoutStandInAreRefusedByName(t *testing.T) {
	list := append(everyService(t), services.Service{Name: "grafana"}, services.Service{Name: "gitea"})
	_, _, err := StartRegistry(t.Context(), Options{ModuleDir: moduleDir, Services: list})
	for _, want := range []string{"no stand-in for the service grafana", "no stand-in for the service gitea", standinPackage} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "pihole") {
		t.Errorf("got %v, want only those that have none", err)
	}
}

func TestRegistryEndsWithItsContext(t *testing.T) {
	compiles(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	mirror, stop, err := StartRegistry(ctx, Options{ModuleDir: moduleDir})
	if err != nil {
		t.Fatal(err)
	}
	cancel(errors.New("enough"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", mirror); err == nil {
		c.Close()
		t.Error("something still listens")
	}
	if _, _, err := StartRegistry(ctx, Options{ModuleDir: moduleDir}); err == nil {
		t.Error("a registry was started for a cancelled build")
	}
}

func TestInputsDigestFollowsTheSourceAndThePorts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entry, err := containerimage.NewEntry("one", "docker.io/example/one:1")
	if err != nil {
		t.Fatal(err)
	}
	service := services.Service{Name: "one", Ports: []services.Port{{Port: 80, Protocols: []string{"tcp"}}}}
	digest := func() string {
		t.Helper()
		d, err := InputsDigest(Options{ModuleDir: dir, Services: services.List{service}, Images: []containerimage.Entry{entry}})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, name := range []string{"go.mod", "go.sum", "magefiles/internal/lab/standin/cmd/main.go"} {
		write(name, "1")
	}
	first := digest()
	write("magefiles/internal/lab/standin/cmd/main_test.go", "a test is not in the image")
	write("magefiles/internal/lab/notes.md", "neither is this")
	if digest() != first {
		t.Error("the digest changed with files that are not in the images")
	}
	write("magefiles/internal/lab/standin/cmd/main.go", "2")
	if digest() == first {
		t.Error("the digest did not change with the source")
	}
}

func TestBuildCommand(t *testing.T) {
	want := []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", "/x/out", "./magefiles/internal/lab/standin/cmd"}
	if diff := cmp.Diff(want, buildCommand("/x/out")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
