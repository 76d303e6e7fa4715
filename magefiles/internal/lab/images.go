// Package lab makes the container images of the lab profiles: stand-ins for the
// services, in a registry of its own, for machines that reach no other.
package lab

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Where the stand-ins are, and the program that is one of them.
const (
	standinPackage = "./magefiles/internal/lab/standin"
	standinCommand = standinPackage + "/cmd"
)

const binaryPath = "usr/local/bin/standin"

// made is the time of everything in the images, so that the same source gives
// the same digests.
func made() time.Time { return time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC) }

// CheckServices makes sure that there is a stand-in for every service.
func CheckServices(list services.List) error {
	var problems []error
	have := standin.Names()
	for _, name := range list.Names() {
		if !slices.Contains(have, name) {
			problems = append(problems, fmt.Errorf("there is no stand-in for the service %s: add one to %s", name, standinPackage))
		}
	}
	return errors.Join(problems...)
}

// exposed are the ports of a service's container, as an image's configuration
// names them.
func exposed(s services.Service) []string {
	var ports []string
	for _, p := range s.Ports {
		for _, protocol := range p.Protocols {
			ports = append(ports, fmt.Sprintf("%d/%s", p.Container(), protocol))
		}
	}
	return ports
}

func buildCommand(output string) []string {
	return []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", output, standinCommand}
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
	return packLayer([]tar.Header{
		{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/local/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/local/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: binaryPath, Typeflag: tar.TypeReg, Mode: 0o755},
	}, map[string]string{binaryPath: string(data)})
}

// ownLayer returns the layer that only a service's image has: its programs'
// names and its files.
func ownLayer(image standin.Image) (v1.Layer, error) {
	var headers []tar.Header
	content := map[string]string{}
	for _, name := range image.Programs {
		headers = append(headers, tar.Header{Name: strings.TrimPrefix(name, "/"), Typeflag: tar.TypeSymlink, Linkname: "/" + binaryPath, Mode: 0o777})
	}
	for _, name := range slices.Sorted(maps.Keys(image.Files)) {
		path := strings.TrimPrefix(name, "/")
		content[path] = image.Files[name]
		headers = append(headers, tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o644})
	}
	return packLayer(headers, content)
}

func packLayer(headers []tar.Header, content map[string]string) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	var problems []error
	for _, header := range headers {
		header.ModTime, header.Size = made(), int64(len(content[header.Name]))
		err := w.WriteHeader(&header)
		if err == nil {
			_, err = io.WriteString(w, content[header.Name])
		}
		problems = append(problems, err)
	}
	if err := errors.Join(append(problems, w.Close())...); err != nil {
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
func image(s services.Service, layer v1.Layer) (v1.ImageIndex, error) {
	ports := map[string]struct{}{}
	for _, p := range exposed(s) {
		ports[p] = struct{}{}
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	own := standin.ImageOf(s.Name)
	ownLayer, err := ownLayer(own)
	if err != nil {
		return nil, err
	}
	history := v1.History{Created: v1.Time{Time: made()}, CreatedBy: "go build " + standinCommand}
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: history}, mutate.Addendum{Layer: ownLayer, History: history})
	if err != nil {
		return nil, fmt.Errorf("making the image of %s: %w", s.Name, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("making the image of %s: %w", s.Name, err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "arm64"
	config.Created = v1.Time{Time: made()}
	config.Config = v1.Config{
		Entrypoint:   []string{"/" + binaryPath, s.Name},
		ExposedPorts: ports,
		Env:          []string{"PATH=/usr/local/bin:/usr/bin"},
		WorkingDir:   "/",
		Labels: map[string]string{
			"org.opencontainers.image.title":       s.Name,
			"org.opencontainers.image.description": "Stand-in for the CubeOS lab profile",
		},
	}
	if h := own.Health; h != nil {
		config.Config.Healthcheck = &v1.HealthConfig{
			Test:     []string{"CMD", "/" + binaryPath, "-healthcheck", s.Name},
			Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries,
		}
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, fmt.Errorf("making the image of %s: %w", s.Name, err)
	}
	return published(img)
}

// published is an index as build tools publish one: images of several platforms and,
// for each, an attestation of how it was built, which claims to be an image.
func published(img v1.Image) (v1.ImageIndex, error) {
	other, err := forPlatform(img, "amd64")
	if err != nil {
		return nil, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, of := range []struct {
		image    v1.Image
		platform v1.Platform
	}{
		{other, v1.Platform{OS: "linux", Architecture: "amd64"}},
		{img, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}},
	} {
		digest, err := of.image.Digest()
		if err != nil {
			return nil, err
		}
		attestation, err := attest(digest)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index,
			mutate.IndexAddendum{Add: of.image, Descriptor: v1.Descriptor{Platform: &of.platform}},
			mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{
				Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"},
				Annotations: map[string]string{
					"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest.String(),
				},
			}})
	}
	return index, nil
}

func forPlatform(img v1.Image, architecture string) (v1.Image, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Architecture = architecture
	return mutate.ConfigFile(img, config)
}

// attest makes what BuildKit puts beside an image.
func attest(digest v1.Hash) (v1.Image, error) {
	statement := fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","subject":[{"digest":{%q:%q}}]}`, digest.Algorithm, digest.Hex)
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return mutate.AppendLayers(img, static.NewLayer(statement, "application/vnd.in-toto+json"))
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
