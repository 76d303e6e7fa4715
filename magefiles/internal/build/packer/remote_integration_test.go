//go:build integration

package packer

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cubeos-app/releases/magefiles/internal/build/buildtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd/dockerdtest"
)

func TestDaemonThatSeesNoneOfTheFiles(t *testing.T) {
	img := buildtest.BaseImage(t)
	d := dockerdtest.StartBlind(t, filepath.Dir(t.TempDir()))
	load(t, d, standIn(t), builderName)
	build := func(script string) (*fixture, error) {
		w := newFixture(t, img)
		w.first(script)
		write(t, filepath.Join(w.root, "packer/files/etc/run.sh"), "#!/bin/sh\n")
		if err := os.Chmod(filepath.Join(w.root, "packer/files/etc/run.sh"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("run.sh", filepath.Join(w.root, "packer/files/etc/link")); err != nil {
			t.Fatal(err)
		}
		return w, w.build(t.Context())
	}
	w, err := build("printf '%s\\n' \"$GREETING\" >/etc/greeting")
	if err != nil {
		t.Fatalf("%v\n%s", err, w.said())
	}
	if !strings.Contains(w.said(), "does not see this machine's files: copying them there") {
		t.Errorf("nobody was told of the copying:\n%s", w.said())
	}
	tree := w.tree()
	if got, err := os.ReadFile(filepath.Join(tree, "etc/greeting")); err != nil || string(got) != w.vars["greeting"]+"\n" {
		t.Errorf("the image says %q, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(tree, "etc/run.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("a copied program: %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(tree, "etc/link")); err != nil || target != "run.sh" {
		t.Errorf("a copied link leads to %q, %v", target, err)
	}
	w.nothingLeft(d)

	w, err = build("exit 7")
	wants(t, err, "provisioner 1 of 3, first", "exit status: 7")
	w.nothingLeft(d)

	w = newFixture(t, img)
	ended := w.hanging(t.Context())
	if err := d.ContainerKill(t.Context(), w.container(d), "KILL"); err != nil {
		t.Fatal(err)
	}
	wants(t, <-ended, "stopped from outside")
	w.nothingLeft(d)
}

// TestPull pulls from a registry on the loopback interface, which a daemon
// takes without TLS.
func TestPull(t *testing.T) {
	d := dockerdtest.Start(t)
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/secret/") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`)
			return
		}
		images.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	push := func(reference, arch string) string {
		tag, err := name.NewTag(reference)
		if err != nil {
			t.Fatal(err)
		}
		img := standInFor(t, arch)
		if err := remote.Write(tag, img); err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest.String()
	}
	arch := goArchHere(t, d)
	reference := host + "/a/builder:1"
	digest := push(reference, arch)

	t.Run("tag", func(t *testing.T) {
		got, err := Builder{Reference: reference}.present(t.Context(), d.Client, nil)
		if err != nil || got != digest {
			t.Errorf("pinned %s, %v, want %s", got, err, digest)
		}
	})
	t.Run("digest, whatever the tag stands for now", func(t *testing.T) {
		if _, err := d.ImageRemove(t.Context(), reference, image.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if push(reference, "s390x") == digest {
			t.Fatal("the tag did not move")
		}
		got, err := Builder{Reference: reference, Digest: digest}.present(t.Context(), d.Client, nil)
		if err != nil || got != digest {
			t.Errorf("pulled %s, %v, want %s", got, err, digest)
		}
	})
	for name, test := range map[string]struct {
		builder Builder
		wants   []string
	}{
		"denied":         {Builder{Reference: host + "/secret/builder:1"}, []string{"secret/builder", "docker login"}},
		"unknown":        {Builder{Reference: host + "/a/other:1"}, []string{"a/other", "no such image"}},
		"unknown digest": {Builder{reference, "sha256:" + strings.Repeat("0", 64)}, []string{"no such image", "builder.lock"}},
		"no registry":    {Builder{Reference: "127.0.0.1:1/a/builder:1"}, []string{"127.0.0.1:1", "docker load"}},
		"another machine's": {Builder{Reference: host + "/a/builder:1"},
			[]string{"is for s390x|no matching manifest|does not match the specified platform", "docker image rm|another one"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.builder.present(t.Context(), d.Client, nil)
			wants(t, err, test.wants...)
		})
	}
}

func goArchHere(t *testing.T, d *dockerdtest.Daemon) string {
	t.Helper()
	info, err := d.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dockerd.GoArch(info.Architecture)
}
