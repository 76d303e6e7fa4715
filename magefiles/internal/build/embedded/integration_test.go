//go:build integration

package embedded

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/build/buildtest"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/chroottest"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const template = sourceBlock + `
build {
  sources = ["source.arm.test"]
  provisioner "shell" {
    name             = "first"
    script           = "${path.root}/first.sh"
    environment_vars = ["GREETING=it's a 'test'"]
  }
  provisioner "file" {
    name        = "files"
    source      = "${path.root}/files/"
    destination = "/"
  }
  provisioner "shell" {
    name   = "last"
    script = "${path.root}/last.sh"
  }
}
`

// fixture is a recipe, a base image and a cache.
type fixture struct {
	t    *testing.T
	root string
	base baseimage.Image
	log  bytes.Buffer

	refresh string
}

func newFixture(t *testing.T) *fixture {
	w := &fixture{t: t, root: t.TempDir()}
	w.write("packer/x.pkr.hcl", template)
	w.write("packer/first.sh", "#!/bin/sh\nset -eu\necho \"$GREETING\" >/etc/greeting\necho new >/boot/firmware/new.txt\nrm /etc/old\n")
	w.write("packer/last.sh", "#!/bin/sh\nset -eu\n[ \"$(cat /etc/tool.conf)\" = conf ]\nid -u >/etc/uid\n")
	w.write("packer/files/etc/tool.conf", "conf\n")
	w.write("packer/files/.hidden", "")
	w.base = buildtest.BaseImage(t)
	return w
}

func (w *fixture) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *fixture) build(ctx context.Context) (build.Job, error) {
	w.t.Helper()
	r, err := recipe.Load(recipe.Options{Root: w.root, TemplateFile: "packer/x.pkr.hcl"})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.PublishModes(); err != nil {
		w.t.Fatal(err)
	}
	w.log.Reset()
	log := progress.New(&w.log)
	store, err := layer.Open(filepath.Join(w.root, "cache"), log)
	if err != nil {
		w.t.Fatal(err)
	}
	defer store.Close()
	archives, err := debian.OpenArchives(filepath.Join(w.root, "packages"))
	if err != nil {
		w.t.Fatal(err)
	}
	job := build.Job{
		Recipe: r, Base: w.base, Image: filepath.Join(w.root, "x.img"), LogDir: filepath.Join(w.root, "log"),
		Headroom: 16 << 20, Time: time.Unix(1700000000, 0), Again: "go tool mage build",
	}
	return job, Engine{Store: store, Archives: archives, Refresh: w.refresh, Log: log}.Build(ctx, job)
}

// contents returns what the image holds at paths.
func (w *fixture) contents(job build.Job, paths ...string) map[string]string {
	w.t.Helper()
	ctx := w.t.Context()
	table, err := diskimage.Read(ctx, job.Image)
	if err != nil {
		w.t.Fatal(err)
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		w.t.Fatal(err)
	}
	if table.ID != buildtest.DiskID {
		w.t.Errorf("the disk id is %08x, not the base image's", table.ID)
	}
	tree := w.t.TempDir()
	if err := diskimage.Extract(ctx, job.Image, boot, root, tree, chroot.BootDir); err != nil {
		w.t.Fatal(err)
	}
	found := map[string]string{}
	for _, path := range paths {
		raw, err := os.ReadFile(filepath.Join(tree, path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found[path] = "absent"
		case err != nil:
			w.t.Fatal(err)
		default:
			found[path] = strings.TrimSpace(string(raw))
		}
	}
	return found
}

func TestBuildRunsTheRecipe(t *testing.T) {
	w := newFixture(t)
	job, err := w.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"etc/greeting": "it's a 'test'", "etc/tool.conf": "conf", "etc/uid": "0", "etc/old": "absent", ".hidden": "",
		"boot/firmware/config.txt": "[all]", "boot/firmware/new.txt": "new",
		"usr/sbin/policy-rc.d": "absent", "etc/resolv.conf": "absent", "run/upload": "absent", "tmp/script_0.sh": "absent",
	}
	var paths []string
	for p := range want {
		paths = append(paths, p)
	}
	if diff := cmp.Diff(want, w.contents(job, paths...)); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyWhatChangedRunsAgain(t *testing.T) {
	w := newFixture(t)
	for _, step := range []struct {
		name   string
		change func()
		cached []string
		ran    []string
	}{
		{"at first", func() {}, nil, []string{"first", "files", "last"}},
		{"unchanged", func() {}, []string{"first", "files", "last"}, nil},
		{"late script", func() { w.write("packer/last.sh", "#!/bin/sh\necho 2 >/etc/uid\n") }, []string{"first", "files"}, []string{"last"}},
		{"file", func() { w.write("packer/files/etc/tool.conf", "other\n") }, []string{"first"}, []string{"files", "last"}},
		{"variable", func() { w.write("packer/x.pkr.hcl", strings.Replace(template, "it's", "that's", 1)) }, nil, []string{"first", "files", "last"}},
		{"back", func() { w.write("packer/x.pkr.hcl", template) }, []string{"first", "files", "last"}, nil},
	} {
		step.change()
		if _, err := w.build(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		w.check(step.name, step.cached, step.ran)
	}
}

// check compares what the last build did with the provisioners to run.
func (w *fixture) check(name string, cached, ran []string) {
	w.t.Helper()
	for _, label := range cached {
		if !strings.Contains(w.log.String(), ", "+label+": cached") {
			w.t.Errorf("%s: %s ran again:\n%s", name, label, w.log.String())
		}
	}
	for _, label := range ran {
		if !strings.Contains(w.log.String(), ", "+label+"\n") {
			w.t.Errorf("%s: %s did not run:\n%s", name, label, w.log.String())
		}
	}
}

func TestRefreshRunsFromThereOn(t *testing.T) {
	w := newFixture(t)
	// What a mirror that goes on does to a provisioner.
	w.write("packer/first.sh", "#!/bin/sh\ncat /proc/sys/kernel/random/uuid >/etc/tool.new\n")
	for _, step := range []struct {
		name, refresh string
		cached, ran   []string
	}{
		{"at first", "", nil, []string{"first", "files", "last"}},
		{"the last", "last", []string{"first", "files"}, []string{"last"}},
		{"the second", "files", []string{"first"}, []string{"files", "last"}},
		{"afterwards", "", []string{"first", "files", "last"}, nil},
		{"all", "base", nil, []string{"first", "files", "last"}},
		{"after all", "", []string{"first", "files", "last"}, nil},
	} {
		w.refresh = step.refresh
		if _, err := w.build(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		w.check(step.name, step.cached, step.ran)
	}
	w.refresh = "nobody"
	if _, err := w.build(t.Context()); err == nil || !strings.Contains(err.Error(), "first, files, last") {
		t.Errorf("got %v, want the names", err)
	}
}

func TestADamagedLayerIsMadeAgainWithAllOnTopOfIt(t *testing.T) {
	for _, tt := range []struct {
		name, script string
		cached, ran  []string
	}{
		{"which comes out the same", "#!/bin/sh\necho same >/etc/made\n", []string{"files", "last"}, []string{"first"}},
		{"which comes out otherwise", "#!/bin/sh\ncat /proc/sys/kernel/random/uuid >/etc/made\n", nil, []string{"first", "files", "last"}},
	} {
		w := newFixture(t)
		w.write("packer/first.sh", tt.script)
		if _, err := w.build(t.Context()); err != nil {
			t.Fatal(err)
		}
		made, err := filepath.Glob(filepath.Join(w.root, "cache", "layer-*", "tree", "etc", "made"))
		if err != nil || len(made) != 1 {
			t.Fatalf("%v, %v", made, err)
		}
		if err := os.WriteFile(made[0], []byte("damaged"), 0o644); err != nil {
			t.Fatal(err)
		}
		job, err := w.build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.check(tt.name, tt.cached, tt.ran)
		for _, want := range []string{"provisioner 1 of 3, first", "tree/etc/made has 7 bytes"} {
			if !strings.Contains(w.log.String(), want) {
				t.Errorf("the message does not name %q:\n%s", want, w.log.String())
			}
		}
		if got := w.contents(job, "etc/made")["etc/made"]; got == "damaged" {
			t.Error("the damaged layer got into the image")
		}
	}
}

func TestAFailedProvisionerSaysAllThatIsNeeded(t *testing.T) {
	w := newFixture(t)
	w.write("packer/last.sh", "#!/bin/sh\necho the reason >&2\nexit 7\n")
	job, err := w.build(t.Context())
	if err == nil {
		t.Fatal("a failed provisioner was taken for a good one")
	}
	for _, want := range []string{"provisioner 3 of 3, last", "x.pkr.hcl:", "the reason", "exit status 7", "03-last.log", "go tool mage build"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "unshare") {
		t.Errorf("the error shows how we run things instead of what failed:\n%v", err)
	}
	if left, _ := filepath.Glob(job.Image + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(w.root, "cache", "layer-*")); len(left) != 3 {
		t.Errorf("left behind: %v, want the base image and the two provisioners that ran", left)
	}
	w.write("packer/last.sh", "#!/bin/sh\n")
	if _, err := w.build(t.Context()); err != nil || !strings.Contains(w.log.String(), "files: cached") {
		t.Errorf("once it was fixed, the build did not go on from there: %v\n%s", err, w.log.String())
	}
}

func TestACancelledBuildLeavesNothing(t *testing.T) {
	w := newFixture(t)
	w.write("packer/last.sh", "#!/bin/sh\nsleep 2345.5\n")
	ctx, cancel := context.WithCancel(t.Context())
	chroottest.WhenRunning(t, "sleep 2345[.]5", cancel)
	job, err := w.build(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	chroottest.MustNotBeMounted(t, w.root)
	chroottest.MustNotRun(t, "sleep 2345[.]5")
	if left, _ := filepath.Glob(job.Image + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Whether the base image is new or was taken apart before.
func TestABaseImageThatIsNotAsDescribedIsRefused(t *testing.T) {
	w := newFixture(t)
	other := strings.Replace(template, `start_sector = 16384`, `start_sector = 8192`, 1)
	for _, step := range []struct{ name, recipe, want string }{
		{"new", other, `has "start_sector" 8192, but in the image it has 16384`},
		{"as described", template, ""},
		{"cached", other, `has "start_sector" 8192, but in the image it has 16384`},
	} {
		w.write("packer/x.pkr.hcl", step.recipe)
		_, err := w.build(t.Context())
		if step.want == "" {
			if err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			continue
		}
		if err == nil {
			t.Fatalf("%s: it was accepted", step.name)
		}
		text := strings.Join(strings.Fields(err.Error()), " ")
		for _, want := range []string{step.want, "on packer/x.pkr.hcl line ", w.base.Path} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is not in: %v", step.name, want, err)
			}
		}
	}
}

func TestABadBaseImageIsRefused(t *testing.T) {
	w := newFixture(t)
	for name, spoil := range map[string]func(f *os.File) error{
		"no table": func(f *os.File) error { _, err := f.WriteAt(make([]byte, 512), 0); return err },
		"cut off":  func(f *os.File) error { return f.Truncate(20 << 20) },
	} {
		bad := w.base.Path + ".bad"
		if err := process.Run(t.Context(), "cp", w.base.Path, bad); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(bad, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(spoil(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		good := w.base
		w.base = baseimage.Image{Path: bad, SHA256: name}
		if _, err := w.build(t.Context()); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
		w.base = good
	}
}
