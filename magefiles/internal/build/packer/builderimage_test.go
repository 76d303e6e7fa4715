//go:build integration

package packer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/chroottest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd/dockerdtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// standIn is the image of a builder that needs no network to come by: this
// machine's own tools, Packer, and the plugin in testdata.
func standIn(t *testing.T) v1.Image {
	t.Helper()
	root := chroottest.Tools(t, "chroot", "losetup", "umount", "dd")
	plugins := filepath.Join(root, "plugins", "github.com", "cubeos-app", "arm")
	for _, dir := range []string{plugins, filepath.Join(root, "root"), filepath.Join(root, "build")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plugin := filepath.Join(plugins, "packer-plugin-arm_v0.0.1_x5.0_linux_"+runtime.GOARCH)
	compile(t, plugin, "./magefiles/internal/build/packer/testdata/plugin")
	compile(t, filepath.Join(root, "usr", "bin", "packer"), "github.com/hashicorp/packer")
	raw, err := os.ReadFile(plugin)
	if err != nil {
		t.Fatal(err)
	}
	write(t, plugin+"_SHA256SUM", fmt.Sprintf("%x\n", sha256.Sum256(raw)))
	write(t, filepath.Join(root, "entrypoint.sh"), "#!/bin/sh -e\necho \"running /bin/packer $*\"\nexec /bin/packer \"$@\"\n")
	write(t, filepath.Join(root, "etc", "resolv.conf"), "")
	return imageOf(t, runtime.GOARCH, layerOf(t, root))
}

// standInFor is an image that says to be for another architecture.
func standInFor(t *testing.T, arch string) v1.Image {
	t.Helper()
	return imageOf(t, arch, layerOf(t, t.TempDir()))
}

func imageOf(t *testing.T, arch string, layer v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config = v1.Config{
		Entrypoint: []string{"/bin/sh", "/entrypoint.sh"},
		WorkingDir: "/build",
		Env:        []string{"PACKER_LOG=1", "PACKER_PLUGIN_PATH=/plugins", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// compile builds a package with the modules of the real Packer.
func compile(t *testing.T, output, pkg string) {
	t.Helper()
	root, err := filepath.Abs("../../../..")
	if err != nil {
		t.Fatal(err)
	}
	err = process.Cmd{
		Argv: []string{"go", "build", "-modfile=.ci/packer.mod", "-ldflags=-s -w", "-o", output, pkg},
		Dir:  root,
		Env:  append(os.Environ(), "CGO_ENABLED=0"),
	}.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// layerOf packs a tree.
func layerOf(t *testing.T, root string) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.AddFS(os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// load gives the daemon an image under a name.
func load(t *testing.T, d *dockerdtest.Daemon, img v1.Image, reference string) {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := dockerd.Load(t.Context(), d.Client, tag, img); err != nil {
		t.Fatal(err)
	}
}

// loopDevices returns what this machine has attached.
func loopDevices(t *testing.T) string {
	t.Helper()
	out, err := process.Output(context.Background(), "losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(out), " ")
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
