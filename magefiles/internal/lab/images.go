// Package lab makes the container images of the lab profile: stand-ins for the
// five services, in a registry of its own, for machines that reach no other.
package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// standinPackage is the program that stands in for the services.
const standinPackage = "./magefiles/internal/lab/standin"

const binaryPath = "usr/local/bin/standin"

// made is the time of everything in the images, so that the same source gives
// the same digests.
func made() time.Time { return time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC) }

// standin is what differs between the images.
type standin struct {
	service string
	ports   []string
}

func standins() []standin {
	return []standin{
		{"pihole", []string{"53/tcp", "53/udp", "6001/tcp"}},
		{"npm", []string{"80/tcp", "81/tcp", "443/tcp"}},
		{"hal", []string{"6005/tcp"}},
		{"api", []string{"6010/tcp"}},
		{"dashboard", []string{"8087/tcp"}},
	}
}

// checkEntries makes sure that there is a stand-in for every image.
func checkEntries(entries []containerimage.Entry) error {
	var problems []error
	for _, e := range entries {
		if !slices.ContainsFunc(standins(), func(s standin) bool { return s.service == e.Name }) {
			problems = append(problems, fmt.Errorf("the lab profile has no stand-in for %s (%s): add one to %s", e.Name, e.Reference, standinPackage))
		}
	}
	return errors.Join(problems...)
}

func buildCommand(output string) []string {
	return []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", output, standinPackage}
}

func buildEnv(inherited []string, arch string) []string {
	return append(slices.Clone(inherited), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOARM64=v8.0", "GOFLAGS=")
}

// compile builds the stand-in program for arch into output.
func compile(ctx context.Context, moduleDir, arch, output string) error {
	cmd := process.Cmd{Argv: buildCommand(output), Dir: moduleDir, Env: buildEnv(os.Environ(), arch)}
	if err := cmd.Run(ctx); err != nil {
		return fmt.Errorf("compiling the stand-in services: %w", err)
	}
	return nil
}

// binaryLayer returns the layer that holds the program, compressed once: all
// images share it.
func binaryLayer(binary string) (v1.Layer, error) {
	data, err := os.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading the stand-in services: %w", err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, dir := range []string{"tmp/", "usr/", "usr/local/", "usr/local/bin/"} {
		mode := int64(0o755)
		if dir == "tmp/" {
			mode = 0o1777
		}
		if err := w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: mode, ModTime: made()}); err != nil {
			return nil, fmt.Errorf("packing the stand-in services: %w", err)
		}
	}
	err = w.WriteHeader(&tar.Header{Name: binaryPath, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(data)), ModTime: made()})
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("packing the stand-in services: %w", err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return nil, fmt.Errorf("packing the stand-in services: %w", err)
	}
	return layer, nil
}

// image returns the index that stands for the real service's: the linux/arm64
// image in it.
func (s standin) image(layer v1.Layer) (v1.ImageIndex, error) {
	ports := map[string]struct{}{}
	for _, p := range s.ports {
		ports[p] = struct{}{}
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err := mutate.Append(img, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: made()}, CreatedBy: "go build " + standinPackage},
	})
	if err != nil {
		return nil, fmt.Errorf("making the image of %s: %w", s.service, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("making the image of %s: %w", s.service, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "arm64"
	config.Created = v1.Time{Time: made()}
	config.Config = v1.Config{
		Entrypoint:   []string{"/" + binaryPath, s.service},
		ExposedPorts: ports,
		Env:          []string{"PATH=/usr/local/bin"},
		WorkingDir:   "/",
		Healthcheck: &v1.HealthConfig{
			Test:        []string{"CMD", "/" + binaryPath, "-healthcheck", s.service},
			Interval:    30 * time.Second,
			Timeout:     10 * time.Second,
			StartPeriod: time.Minute,
			Retries:     3,
		},
		Labels: map[string]string{
			"org.opencontainers.image.title":       s.service,
			"org.opencontainers.image.description": "Stand-in for the CubeOS lab profile",
		},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, fmt.Errorf("making the image of %s: %w", s.service, err)
	}
	return mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add:        img,
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}},
	}), nil
}

// sources lists the files that decide what the images hold.
func sources(moduleDir string) ([]string, error) {
	files := []string{"go.mod", "go.sum"}
	root := filepath.Join(moduleDir, "magefiles", "internal", "lab")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") {
			var rel string
			rel, err = filepath.Rel(moduleDir, path)
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the stand-in services' source: %w", err)
	}
	return files, nil
}
