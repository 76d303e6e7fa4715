//go:build integration

package packer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/build/buildtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd/dockerdtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const builderName = "localhost/builder:1"

const template = `
variable "greeting" {
  type = string
}

variable "base_image_url" {
  type    = string
  default = "/none"
}

variable "base_image_sha256" {
  type    = string
  default = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

source "arm" "test" {
  file_urls             = [var.base_image_url]
  file_checksum         = var.base_image_sha256
  file_checksum_type    = "sha256"
  file_target_extension = "img"
  image_build_method    = "resize"
  image_path            = "${path.root}/../build/packed.img"
  image_size            = "1G"
  image_type            = "dos"
` + buildtest.Partitions + buildtest.ChrootSetup + `  image_chroot_env        = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
  qemu_binary_source_path = "/usr/bin/qemu-aarch64-static"
}

build {
  sources = ["source.arm.test"]
  provisioner "shell" {
    name             = "first"
    script           = "${path.root}/first.sh"
    environment_vars = ["GREETING=${var.greeting}", "ALPHA=1"]
  }
  provisioner "file" {
    name        = "files"
    source      = "${path.root}/files/"
    destination = "/"
  }
  provisioner "shell" {
    name   = "last"
    inline = ["set -eu", "[ \"$(cat /etc/tool.conf)\" = conf ]", "rm -f /usr/sbin/policy-rc.d /etc/resolv.conf"]
  }
}
`

func TestBuild(t *testing.T) {
	img := buildtest.BaseImage(t)
	d := dockerdtest.Start(t)
	load(t, d, standIn(t), builderName)

	t.Run("success", func(t *testing.T) {
		w := newFixture(t, img)
		t.Setenv("PKR_VAR_greeting", "of the caller's")
		if err := w.build(t.Context()); err != nil {
			t.Fatalf("%v\n%s", err, w.said())
		}
		tree := w.tree()
		for path, want := range map[string]string{"etc/greeting": w.vars["greeting"] + "\n", "etc/tool.conf": "conf\n", ".hidden": "", "boot/firmware/config.txt": "[all]\n"} {
			if got, err := os.ReadFile(filepath.Join(tree, path)); err != nil || string(got) != want {
				t.Errorf("%s: %q, %v, want %q", path, got, err, want)
			}
		}
		for _, path := range []string{"etc/old", "usr/sbin/policy-rc.d", "etc/resolv.conf"} {
			if exists(filepath.Join(tree, path)) {
				t.Errorf("%s is in the image", path)
			}
		}
		for _, text := range []string{"provisioner 1 of 3, first", "provisioner 2 of 3, files", "provisioner 3 of 3, last", "packing the image"} {
			if !strings.Contains(w.said(), text) {
				t.Errorf("nobody was told %q:\n%s", text, w.said())
			}
		}
		w.nothingLeft(d)
	})
	t.Run("failing provisioner", func(t *testing.T) {
		w := newFixture(t, img)
		w.first("echo the reason >&2; exit 7")
		err := w.build(t.Context())
		wants(t, err, "provisioner 1 of 3, first", `x\.pkr\.hcl:`, "exit status: 7", "the reason", `packer\.log`, "mage build -engine=packer")
		if strings.Contains(err.Error(), "unmounting") {
			t.Errorf("the error shows the clearing up:\n%v", err)
		}
		if log, err := os.ReadFile(filepath.Join(w.root, "log/packer.log")); err != nil || !strings.Contains(string(log), "the reason") {
			t.Errorf("the log is %q, %v", log, err)
		}
		w.nothingLeft(d)
	})
	t.Run("missing memory", func(t *testing.T) {
		w := newFixture(t, img)
		w.first("until [ -e /tmp/limited ]; do sleep 0.1; done; x=0123456789abcdef; while :; do x=$x$x; done")
		ended := make(chan error, 1)
		go func() { ended <- w.build(t.Context()) }()
		w.until("provisioner 1 of 3, first", ended)
		limit := int64(300 << 20)
		_, err := d.ContainerUpdate(t.Context(), w.container(d), container.UpdateConfig{Resources: container.Resources{Memory: limit, MemorySwap: limit}})
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(w.mounted(d), "tmp/limited"), "")
		wants(t, <-ended, "provisioner 1 of 3, first", "ran out of memory")
		w.nothingLeft(d)
	})
	t.Run("killed container", func(t *testing.T) {
		w := newFixture(t, img)
		ended := w.hanging(t.Context())
		if err := d.ContainerKill(t.Context(), w.container(d), "KILL"); err != nil {
			t.Fatal(err)
		}
		wants(t, <-ended, "stopped from outside", `packer\.log`)
		w.nothingLeft(d)
	})
	t.Run("removed container", func(t *testing.T) {
		w := newFixture(t, img)
		ended := w.hanging(t.Context())
		if err := d.ContainerRemove(t.Context(), w.container(d), container.RemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		wants(t, <-ended, "container")
	})
	t.Run("interrupted", func(t *testing.T) {
		w := newFixture(t, img)
		ctx, cancel := context.WithCancel(t.Context())
		ended := w.hanging(ctx)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		w.nothingLeft(d)
	})
	t.Run("two builds at once", func(t *testing.T) {
		ended := make(chan error)
		for i := range 2 {
			w := newFixture(t, img)
			w.vars["greeting"] = fmt.Sprint("build ", i)
			go func() {
				err := w.build(t.Context())
				if err == nil {
					raw, readErr := os.ReadFile(filepath.Join(w.tree(), "etc/greeting"))
					if err = readErr; string(raw) != w.vars["greeting"]+"\n" {
						err = fmt.Errorf("build %d made an image that says %q", i, raw)
					}
				}
				ended <- err
			}()
		}
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	})
	t.Run("what a killed build left", func(t *testing.T) {
		killed := newFixture(t, img)
		killed.first("sleep 4321.5")
		build := killed.process()
		other := newFixture(t, img)
		if err := other.build(t.Context()); err != nil {
			t.Error(err)
		}
		if strings.Contains(other.said(), "of a build that was killed") {
			t.Error("the container of a running build was swept")
		}
		if err := build.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = build.Wait()
		if loops := loopDevices(t); !strings.Contains(loops, "packed.img") {
			t.Errorf("the killed build left no loop device, so this proves nothing: %s", loops)
		}
		if err := other.build(t.Context()); err != nil {
			t.Error(err)
		}
		if !strings.Contains(other.said(), "of a build that was killed") {
			t.Error("nobody was told of the sweep")
		}
		killed.nothingLeft(d)
	})
	t.Run("disk full", func(t *testing.T) {
		w := newFixture(t, img)
		w.first("cat /dev/zero >/fill")
		wants(t, w.build(t.Context()), "provisioner 1 of 3, first", "No space left on device", "a disk is full")
		w.nothingLeft(d)
	})
	t.Run("build directory full", func(t *testing.T) {
		w := newFixture(t, img)
		small := filepath.Join(w.root, "build")
		if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=2m"); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Unmount(small, 0); err != nil {
				t.Error(err)
			}
		}()
		wants(t, w.build(t.Context()), "running Packer", "No space left on device", "a disk is full")
		w.nothingLeft(d)
	})
	t.Run("base image that is another", func(t *testing.T) {
		w := newFixture(t, img)
		w.base.SHA256 = strings.Repeat("0", 64)
		wants(t, w.build(t.Context()), "running Packer", "[Cc]hecksum")
		w.nothingLeft(d)
	})
	t.Run("wrong architecture", func(t *testing.T) {
		load(t, d, standInFor(t, "s390x"), "localhost/builder:s390x")
		w := newFixture(t, img)
		e := w.engine()
		e.Builder.Reference = "localhost/builder:s390x"
		wants(t, e.Build(t.Context(), w.job()), "is for s390x, but the daemon runs on "+runtime.GOARCH, "docker image rm")
		w.nothingLeft(d)
	})
	t.Run("sources outside of the checkout", func(t *testing.T) {
		w := newFixture(t, img)
		write(t, filepath.Join(w.root, "packer/x.pkr.hcl"), strings.Replace(template, "${path.root}/files/", "/etc/", 1))
		wants(t, w.build(t.Context()), "names /etc/, which is or leads outside")
	})
}

// process starts the build as a process of its own, under its lock, and
// returns once its first provisioner runs.
func (w *fixture) process() *exec.Cmd {
	w.t.Helper()
	raw, err := json.Marshal(w.base)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), buildVariable+"="+w.root, buildVariable+"_BASE="+string(raw))
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.until("provisioner 1 of 3, first", nil)
	return cmd
}

const buildVariable = "CUBEOS_TEST_BUILD"

// TestMain is also what process starts.
func TestMain(m *testing.M) {
	root := os.Getenv(buildVariable)
	if root == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, buildOnly(&fixture{root: root, vars: map[string]string{"greeting": "a"}}))
	os.Exit(1)
}

func buildOnly(w *fixture) error {
	if err := json.Unmarshal([]byte(os.Getenv(buildVariable+"_BASE")), &w.base); err != nil {
		return err
	}
	job, err := w.load()
	if err != nil {
		return err
	}
	e := w.engine()
	e.Log = progress.New(os.Stderr)
	if _, err := lock.Acquire(context.Background(), e.Lock, lock.Exclusive, nil); err != nil {
		return err
	}
	return e.Build(context.Background(), job)
}

func TestDaemonStoppedMidway(t *testing.T) {
	d := dockerdtest.Start(t)
	load(t, d, standIn(t), builderName)
	w := newFixture(t, buildtest.BaseImage(t))
	ended := w.hanging(t.Context())
	d.Stop()
	wants(t, <-ended, "went away during the build|stopped from outside")
	d.Start()
	w.first("true")
	if err := w.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.nothingLeft(d)
}

func TestDaemonLostMidway(t *testing.T) {
	d := dockerdtest.Start(t)
	load(t, d, standIn(t), builderName)
	w := newFixture(t, buildtest.BaseImage(t))
	lose := d.BehindProxy()
	ended := w.hanging(t.Context())
	lose()
	wants(t, <-ended, "went away during the build", "left for the next build to clear away")
	t.Setenv("DOCKER_HOST", d.Host())
	w.first("true")
	if err := w.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.said(), "of a build that was killed") {
		t.Errorf("nobody was told of the sweep:\n%s", w.said())
	}
	w.nothingLeft(d)
}

// container is the one container of this fixture's build.
func (w *fixture) container(d *dockerdtest.Daemon) string {
	w.t.Helper()
	found, err := d.ContainerList(w.t.Context(), container.ListOptions{
		Filters: filters.NewArgs(filters.Arg("label", lockLabel+"="+w.engine().Lock)),
	})
	if err != nil || len(found) != 1 {
		w.t.Fatalf("found %d containers of the build, %v", len(found), err)
	}
	return found[0].ID
}

// mounted is where this machine sees the root file system that the builder has
// mounted in its container.
func (w *fixture) mounted(d *dockerdtest.Daemon) string {
	w.t.Helper()
	state, err := d.ContainerInspect(w.t.Context(), w.container(d))
	if err != nil {
		w.t.Fatal(err)
	}
	pattern := fmt.Sprintf("/proc/%d/root/tmp/*/etc/old", state.State.Pid)
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		w.t.Fatalf("%s matches %q, %v", pattern, found, err)
	}
	return filepath.Dir(filepath.Dir(found[0]))
}
