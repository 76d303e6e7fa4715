package embedded

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/build/buildtest"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
)

// keys are those of the job's layers, the base image's first, if what each
// holds stays the same.
func keys(t *testing.T, job build.Job) []string {
	t.Helper()
	steps, err := plan(job)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{baseKey(job.Base)}
	for _, s := range steps {
		all = append(all, s.key(all[len(all)-1], "what the layer below holds"))
	}
	return all
}

const never = 99

func TestKeysCoverWhatChangesTheOutcomeAndNothingElse(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(w *checkout)
		from   int // the first layer with another key; the base image's is 0
	}{
		"base image":               {func(w *checkout) { w.job.Base.SHA256 = "other" }, 0},
		"variable of the chroot":   {func(w *checkout) { w.edit(`"PATH=/usr/sbin:/usr/bin"`, `"PATH=/usr/bin"`) }, 1},
		"byte of the first script": {func(w *checkout) { w.write("first.sh", "#!/bin/sh\necho 2\n") }, 1},
		"variable used":            {func(w *checkout) { w.edit(`default = "hello"`, `default = "welcome"`) }, 1},
		"new environment variable": {func(w *checkout) { w.edit(`"GREETING=${var.greeting}"`, `"GREETING=${var.greeting}", "X=1"`) }, 1},
		"contents of a file":       {func(w *checkout) { w.write("files/etc/tool.conf", "other\n") }, 2},
		"executable file":          {func(w *checkout) { w.chmod("files/etc/tool.conf", 0o755) }, 2},
		"private file":             {func(w *checkout) { w.chmod("files/etc/tool.conf", 0o600) }, 2},
		"new file":                 {func(w *checkout) { w.write("files/new", "") }, 2},
		"other destination":        {func(w *checkout) { w.edit(`destination = "/"`, `destination = "/opt/"`) }, 2},
		"directory, not contents":  {func(w *checkout) { w.edit(`files/"`, `files"`) }, 2},
		"execute_command":          {func(w *checkout) { w.edit(`sh {{.Path}}`, `sh -x {{.Path}}`) }, 3},
		"inline command":           {func(w *checkout) { w.edit(`"true"`, `"false"`) }, 4},
		"order": {func(w *checkout) {
			w.edit("first.sh", "swapped.sh")
			w.edit("last.sh", "first.sh")
			w.edit("swapped.sh", "last.sh")
		}, 1},
		"one left out": {func(w *checkout) { w.edit("provisioner \"shell\" {\n    inline = [\"true\"]\n  }\n", "") }, 4},

		"directory of the logs":   {func(w *checkout) { w.job.LogDir = "/elsewhere" }, never},
		"name of the image":       {func(w *checkout) { w.job.Image = "/elsewhere.img" }, never},
		"file of the base image":  {func(w *checkout) { w.job.Base.Path = "/elsewhere.img" }, never},
		"size of the image":       {func(w *checkout) { w.job.Headroom++ }, never},
		"time of the commit":      {func(w *checkout) { w.job.Time = time.Unix(2, 0) }, never},
		"comment in the recipe":   {func(w *checkout) { w.edit("build {", "# A comment.\nbuild {") }, never},
		"variable nobody uses":    {func(w *checkout) { w.edit(`default = "unused"`, `default = "still unused"`) }, never},
		"name of a provisioner":   {func(w *checkout) { w.edit(`name        = "files"`, `name        = "other"`) }, never},
		"time of a file":          {func(w *checkout) { w.age("files/etc/tool.conf") }, never},
		"writable by the group":   {func(w *checkout) { w.chmod("files/etc/tool.conf", 0o664) }, never},
		"a script's own mode":     {func(w *checkout) { w.chmod("first.sh", 0o755) }, never},
		"file nobody copies":      {func(w *checkout) { w.write("other.sh", "") }, never},
		"place of the checkout":   {func(w *checkout) { w.move() }, never},
		"assignment like default": {func(w *checkout) { w.vars = map[string]string{"greeting": "hello"} }, never},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCheckout(t)
			before := keys(t, w.load())
			tt.change(w)
			after := keys(t, w.load())
			for i := range max(len(before), len(after)) {
				same := i < len(before) && i < len(after) && before[i] == after[i]
				if same != (i < tt.from) {
					t.Errorf("layer %d has the same key: %t, want %t", i, same, i < tt.from)
				}
			}
		})
	}
}

func TestKeysCoverWhatIsBehindLinks(t *testing.T) {
	w := newCheckout(t)
	w.must(os.Rename(w.path("files"), w.path("real")))
	w.must(os.Symlink("real", w.path("files")))
	w.write("real/lib.sh", "1\n")
	w.must(os.Rename(w.path("last.sh"), w.path("real/last.sh")))
	w.must(os.Symlink("real/last.sh", w.path("last.sh")))
	w.must(os.Symlink("real/lib.sh", w.path("lib.sh")))
	w.edit(`inline = ["true"]
  }`, `inline = ["true"]
  }
  provisioner "file" {
    source      = "${path.root}/lib.sh"
    destination = "/tmp/"
  }`)
	for name, from := range map[string]int{"real/etc/tool.conf": 2, "real/last.sh": 2, "real/lib.sh": 2} {
		before := keys(t, w.load())
		w.write(name, "#!/bin/sh\nchanged\n")
		after := keys(t, w.load())
		for i := range before {
			if same := before[i] == after[i]; same != (i < from) {
				t.Errorf("%s: layer %d has the same key: %t", name, i, same)
			}
		}
	}
	steps, err := plan(w.load())
	w.must(err)
	if got, want := steps[4].runs[0].Binds[0].From, w.path("real"); got != want {
		t.Errorf("%s is shown to the chroot, want %s, where the file is", got, want)
	}
	if argv := steps[4].runs[0].Argv; argv[len(argv)-1] != "/tmp/lib.sh" {
		t.Errorf("the file is called %s, want the name of the link", argv[len(argv)-1])
	}
}

func TestAKeyDependsOnWhatTheLayerBelowHolds(t *testing.T) {
	s := step{own: "own"}
	if s.key("below", "a") == s.key("below", "b") {
		t.Error("a layer that was made again with other files keeps what was made on top of it")
	}
}

func TestRefreshNames(t *testing.T) {
	provisioners := newCheckout(t).load().Recipe.Provisioners
	provisioners[2].Scripts = []string{"/x/packer/03-last_one.sh"}
	for name, want := range map[string]int{
		"": len(provisioners), "base": beforeAll, "first": 0, "files": 1, "03-last_one": 2, "last_one": 2,
	} {
		if got, err := refreshFrom(provisioners, name); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"nobody", "03", "sh", "First"} {
		_, err := refreshFrom(provisioners, name)
		if err == nil || !strings.Contains(err.Error(), "base, first, files, ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: got %v, want the names there are", name, err)
		}
	}
}

// checkout is a recipe with a job that builds it.
type checkout struct {
	*testing.T
	root string
	vars map[string]string
	job  build.Job
}

const sourceBlock = `
source "arm" "test" {
  file_urls             = ["/base.img"]
  file_checksum         = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  file_checksum_type    = "sha256"
  file_target_extension = "img"
  image_build_method    = "resize"
  image_path            = "${path.cwd}/build/x.img"
  image_size            = "1G"
  image_type            = "dos"
` + buildtest.ChrootSetup + buildtest.Partitions + `  image_chroot_env             = ["PATH=/usr/sbin:/usr/bin"]
  qemu_binary_source_path      = "/usr/bin/qemu-aarch64-static"
  qemu_binary_destination_path = "/usr/bin/qemu-aarch64-static"
}
`

const planTemplate = `
variable "greeting" {
  type    = string
  default = "hello"
}

variable "spare" {
  type    = string
  default = "unused"
}
` + sourceBlock + `
build {
  sources = ["source.arm.test"]
  provisioner "shell" {
    script           = "${path.root}/first.sh"
    environment_vars = ["GREETING=${var.greeting}"]
  }
  provisioner "file" {
    name        = "files"
    source      = "${path.root}/files/"
    destination = "/"
  }
  provisioner "shell" {
    script          = "${path.root}/last.sh"
    execute_command = "sh {{.Path}}"
  }
  provisioner "shell" {
    inline = ["true"]
  }
}
`

func newCheckout(t *testing.T) *checkout {
	w := &checkout{T: t, root: t.TempDir(), job: build.Job{
		Base: baseimage.Image{Path: "/base.img", SHA256: "base"}, Image: "/x.img", LogDir: "/log", Headroom: 1, Time: time.Unix(1, 0),
	}}
	w.write("x.pkr.hcl", planTemplate)
	w.write("first.sh", "#!/bin/sh\n")
	w.write("last.sh", "#!/bin/sh\necho last\n")
	w.write("files/etc/tool.conf", "conf\n")
	return w
}

func (w *checkout) path(name string) string { return filepath.Join(w.root, "packer", name) }

func (w *checkout) write(name, content string) {
	w.Helper()
	w.must(os.MkdirAll(filepath.Dir(w.path(name)), 0o755))
	w.must(os.WriteFile(w.path(name), []byte(content), 0o644))
}

func (w *checkout) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *checkout) chmod(name string, mode os.FileMode) { w.must(os.Chmod(w.path(name), mode)) }

func (w *checkout) age(name string) {
	w.must(os.Chtimes(w.path(name), time.Time{}, time.Unix(1, 0)))
}

func (w *checkout) move() {
	root := w.root + "-moved"
	w.must(os.Rename(w.root, root))
	w.root = root
}

func (w *checkout) edit(from, to string) {
	w.Helper()
	raw, err := os.ReadFile(w.path("x.pkr.hcl"))
	w.must(err)
	if !strings.Contains(string(raw), from) {
		w.Fatalf("the recipe has no %q", from)
	}
	w.write("x.pkr.hcl", strings.Replace(string(raw), from, to, 1))
}

func (w *checkout) load() build.Job {
	w.Helper()
	r, err := recipe.Load(recipe.Options{Root: w.root, TemplateFile: "packer/x.pkr.hcl", Vars: w.vars})
	w.must(err)
	job := w.job
	job.Recipe = r
	return job
}

func TestInputsNameEveryProvisioner(t *testing.T) {
	w := newCheckout(t)
	before, err := Inputs(w.load())
	w.must(err)
	w.write("last.sh", "#!/bin/sh\n")
	after, err := Inputs(w.load())
	w.must(err)
	var changed []string
	for name := range before {
		if before[name] != after[name] {
			changed = append(changed, name)
		}
	}
	if !slices.Equal(changed, []string{"provisioner 3, last"}) {
		t.Errorf("a change of one script changed %q", changed)
	}
}
