//go:build integration

package packer

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd/dockerdtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// fixture is a checkout with a recipe, and a base image.
type fixture struct {
	t    *testing.T
	root string
	base baseimage.Image
	vars map[string]string
	mu   sync.Mutex
	log  bytes.Buffer
}

func (w *fixture) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *fixture) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func newFixture(t *testing.T, img baseimage.Image) *fixture {
	t.Helper()
	w := &fixture{t: t, root: t.TempDir(), base: img, vars: map[string]string{"greeting": `it's "a" \test`}}
	write(t, filepath.Join(w.root, "packer/x.pkr.hcl"), template)
	write(t, filepath.Join(w.root, "packer/x.pkrvars.hcl"), "")
	write(t, filepath.Join(w.root, "packer/files/etc/tool.conf"), "conf\n")
	write(t, filepath.Join(w.root, "packer/files/.hidden"), "")
	w.first(`printf '%s\n' "$GREETING" >/etc/greeting; rm /etc/old`)
	t.Cleanup(func() {
		debug, err := os.ReadFile(filepath.Join(w.root, "log/packer-debug.log"))
		if t.Failed() && err == nil {
			t.Logf("Packer's own log ends:\n%s", debug[max(0, len(debug)-4000):])
		}
	})
	if err := os.Mkdir(filepath.Join(w.root, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *fixture) first(script string) {
	write(w.t, filepath.Join(w.root, "packer/first.sh"), "#!/bin/sh\nset -eu\n"+script+"\n")
}

func (w *fixture) job() build.Job {
	w.t.Helper()
	job, err := w.load()
	if err != nil {
		w.t.Fatal(err)
	}
	return job
}

func (w *fixture) load() (build.Job, error) {
	r, err := recipe.Load(recipe.Options{Root: w.root, TemplateFile: "packer/x.pkr.hcl", VarFile: "packer/x.pkrvars.hcl", Vars: w.vars})
	return build.Job{
		Recipe: r, Base: w.base, Image: filepath.Join(w.root, "build", "packed.img"), LogDir: filepath.Join(w.root, "log"),
		Headroom: 16 << 20, Time: time.Unix(1700000000, 0), Again: "go tool mage build -engine=packer",
	}, err
}

func (w *fixture) engine() Engine {
	return Engine{
		Builder: Builder{Reference: builderName}, Root: w.root,
		Template: "packer/x.pkr.hcl", VarFile: "packer/x.pkrvars.hcl", Vars: w.vars,
		Lock: filepath.Join(w.root, "build", "lock"), Log: progress.New(w),
	}
}

func (w *fixture) build(ctx context.Context) error { return w.engine().Build(ctx, w.job()) }

// tree returns the files in the finished image.
func (w *fixture) tree() string {
	w.t.Helper()
	img := w.job().Image
	table, err := diskimage.Read(w.t.Context(), img)
	if err != nil {
		w.t.Fatal(err)
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		w.t.Fatal(err)
	}
	tree := w.t.TempDir()
	if err := diskimage.Extract(w.t.Context(), img, boot, root, tree, chroot.BootDir); err != nil {
		w.t.Fatal(err)
	}
	return tree
}

// nothingLeft checks that a build left nothing but its image and its logs.
func (w *fixture) nothingLeft(d *dockerdtest.Daemon) {
	w.t.Helper()
	containers, err := d.ContainerList(context.Background(), container.ListOptions{All: true})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range containers {
		w.t.Errorf("the container %v is left: %s", c.Names, c.Status)
	}
	volumes, err := d.VolumeList(context.Background(), volume.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, v := range volumes.Volumes {
		w.t.Errorf("the volume %s is left", v.Name)
	}
	w.noLoops()
	if left, _ := filepath.Glob(filepath.Join(w.root, "build", "*[!.]*")); len(left) > 0 {
		for _, path := range left {
			if base := filepath.Base(path); base != "packed.img" && base != "lock" {
				w.t.Errorf("%s is left", path)
			}
		}
	}
}

func (w *fixture) noLoops() {
	w.t.Helper()
	if loops := loopDevices(w.t); strings.Contains(loops, "packed.img") {
		w.t.Errorf("loop devices are left: %s", loops)
	}
}

// wants checks that an error says all of what it should.
func wants(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", texts)
	}
	for _, text := range texts {
		if ok, _ := regexp.MatchString(text, err.Error()); !ok {
			t.Errorf("the error does not say %q:\n%v", text, err)
		}
	}
}

// until waits for something the build prints, and fails if the build ends first.
func (w *fixture) until(text string, ended <-chan error) {
	w.t.Helper()
	w.await(text, func() bool { return strings.Contains(w.said(), text) }, ended)
}

// untilPacker waits for something a provisioner prints.
func (w *fixture) untilPacker(text string, ended <-chan error) {
	w.t.Helper()
	w.await(text, func() bool {
		log, err := os.ReadFile(filepath.Join(w.root, "log/packer.log"))
		return err == nil && strings.Contains(string(log), text)
	}, ended)
}

func (w *fixture) await(text string, said func() bool, ended <-chan error) {
	w.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !said(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			w.t.Fatalf("the build ended before %q: %v\n%s", text, err, w.said())
		default:
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the build never said %q:\n%s", text, w.said())
		}
	}
}

// hanging starts a build whose first provisioner never ends.
func (w *fixture) hanging(ctx context.Context) <-chan error {
	w.t.Helper()
	w.first("echo hangs\nsleep 4321.5")
	ended := make(chan error, 1)
	go func() { ended <- w.build(ctx) }()
	w.untilPacker("hangs", ended)
	return ended
}
