package realservices

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// program is the one file of the image of the container that stands for the device.
const program = "/device"

const programPackage = "./magefiles/internal/proof/realservices/cmd"

// holderImage gives the daemon that image, and returns its name there.
func (r *run) holderImage(ctx context.Context) (string, error) {
	info, err := r.docker.Info(ctx)
	if err != nil {
		return "", fmt.Errorf("asking the Docker daemon what it runs on: %w", err)
	}
	arch := dockerd.GoArch(info.Architecture)
	binary := filepath.Join(r.WorkDir, "program")
	err = process.Cmd{
		Argv: []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, programPackage},
		Dir:  r.Root,
		Env:  append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS="),
	}.Run(ctx)
	if err != nil {
		return "", fmt.Errorf("compiling what stands for the device: %w", err)
	}
	layer, err := programLayer(binary)
	if err != nil {
		return "", err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return "", err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return "", err
	}
	tag, err := name.NewTag(r.repository() + "/device:device")
	if err != nil {
		return "", err
	}
	return tag.String(), dockerd.Load(ctx, r.docker, tag, img)
}

func programLayer(binary string) (v1.Layer, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err = w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(program, "/"), Mode: 0o755, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
}
