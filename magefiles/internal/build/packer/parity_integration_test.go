//go:build integration

package packer

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/build/buildtest"
	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/proof/filelist"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd/dockerdtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// parityBuild has what the two engines could do differently: order and quoting
// of variables, an execute_command, several scripts, commands without a file,
// and all forms of a file provisioner.
const parityBuild = `
build {
  sources = ["source.arm.test"]
  provisioner "shell" {
    name             = "probe"
    script           = "${path.root}/probe.sh"
    environment_vars = ["ZULU=last", "QUOTED=it's \"a\" \\ test", "ALPHA=1", "ALPHA=2", "EMPTY=", "SPACED=a  b", "GREETING=${var.greeting}"]
  }
  provisioner "shell" {
    name             = "own-command"
    script           = "${path.root}/probe.sh"
    environment_vars = ["WHO=own"]
    execute_command  = "cd /etc && umask 077 && {{ .Vars }} sh {{ .Path }} with 'two words'"
  }
  provisioner "shell" {
    name    = "several"
    scripts = ["${path.root}/one.sh", "${path.root}/two.sh"]
  }
  provisioner "shell" {
    name   = "inline"
    inline = ["echo first >/inline", "x=set", "echo $x $# >>/inline", "false || true"]
  }
  provisioner "file" {
    name        = "tree"
    source      = "${path.root}/files/"
    destination = "/"
  }
  provisioner "file" {
    name        = "tree-into-a-new-directory"
    source      = "${path.root}/files/etc/"
    destination = "/etc/new/"
  }
  provisioner "file" {
    name        = "file-into-a-directory"
    source      = "${path.root}/one.sh"
    destination = "/usr/bin/"
  }
  provisioner "file" {
    name        = "file-by-another-name"
    sources     = ["${path.root}/one.sh"]
    destination = "/usr/bin/other"
  }
  provisioner "shell" {
    name   = "cleanup"
    inline = ["rm -f /usr/sbin/policy-rc.d /etc/resolv.conf"]
  }
}
`

// probe writes down what a provisioner sees.
const probe = `#!/bin/sh
set -eu
out=/probe/${WHO:-default}
mkdir -p "$out"
chmod 755 /probe "$out"
pwd >"$out/directory"
umask >"$out/umask"
id -u >"$out/user"
id -G >"$out/groups"
printf '%s\n' "$#" "$@" >"$out/arguments"
printf '%s\n' "$0" >"$out/name"
stat -c '%a %u:%g' "$0" >"$out/mode"
cat /proc/sys/kernel/hostname >"$out/hostname"
env >"$out/environment"
while read -r _ dir _; do printf '%s\n' "$dir"; done </proc/self/mounts >"$out/mounts"
ls -A /run >"$out/run"
ls -A /dev >"$out/dev"
if [ -s /etc/resolv.conf ]; then echo yes; fi >"$out/resolver"
if /usr/sbin/policy-rc.d; then :; else echo $?; fi >"$out/policy"
stat -Lc %F /proc/self/fd/0 >"$out/input"
chmod -R u=rwX,go=rX "$out"
`

// unlike lists what a provisioner may see differently, with the reason. Lines
// that match pattern are left out of what is compared.
func unlike() map[string]struct{ pattern, why string } {
	return map[string]struct{ pattern, why string }{
		"name": {`^/tmp/script_[0-9a-f]+\.sh$`, "Packer numbers scripts at random; the embedded engine names them after their contents"},
		"environment": {`^(HOSTNAME|CHECKPOINT_DISABLE|SETUP_QEMU|PACKER_(RUN_UUID|LOG|CACHE_DIR|NO_COLOR|PLUGIN_[A-Z_]+))=`,
			"the builder hands its own environment on to provisioners"},
		"dev": {`.*`, "the builder shows the machine's /dev; the embedded engine one with the devices that do no harm"},
		"run": {`^lock$`, "the embedded engine makes it, as systemd does on the device"},
	}
}

func parityFixture(t *testing.T, img baseimage.Image) *fixture {
	w := newFixture(t, img)
	source, _, _ := strings.Cut(template, "\nbuild {")
	write(t, filepath.Join(w.root, "packer/x.pkr.hcl"), source+parityBuild)
	write(t, filepath.Join(w.root, "packer/probe.sh"), probe)
	write(t, filepath.Join(w.root, "packer/one.sh"), "#!/bin/sh\necho one $PACKER_BUILD_NAME $PACKER_BUILDER_TYPE >>/several\n")
	write(t, filepath.Join(w.root, "packer/two.sh"), "#!/bin/sh\necho two >>/several\n")
	return w
}

func TestBothEnginesMeanTheSame(t *testing.T) {
	img := buildtest.BaseImage(t)
	d := dockerdtest.Start(t)
	load(t, d, standIn(t), builderName)
	w := parityFixture(t, img)
	if err := w.build(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, w.said())
	}
	trees := []string{w.tree()}
	if err := w.embedded().Build(t.Context(), w.job()); err != nil {
		t.Fatalf("%v\n%s", err, w.said())
	}
	trees = append(trees, w.tree())

	for _, who := range []string{"default", "own"} {
		packer, embedded := probed(t, trees[0], who), probed(t, trees[1], who)
		if diff := cmp.Diff(packer, embedded); diff != "" {
			t.Errorf("provisioner %s (- Packer, + embedded):\n%s", who, diff)
		}
	}
	compareTrees(t, trees)
}

// embedded is the other engine, with a cache of its own.
func (w *fixture) embedded() build.Engine {
	w.t.Helper()
	store, err := layer.Open(w.t.TempDir(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	archives, err := debian.OpenArchives(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	return embedded.Engine{Store: store, Archives: archives, Log: progress.New(w)}
}

// probed returns what a probe wrote down, without what may be unlike.
func probed(t *testing.T, tree, who string) map[string][]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(tree, "probe", who, "*"))
	if err != nil || len(files) < 12 {
		t.Fatalf("the probe %s wrote %d files, %v", who, len(files), err)
	}
	seen := map[string][]string{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.FieldsFunc(string(raw), func(r rune) bool { return r == '\n' })
		if u, ok := unlike()[filepath.Base(file)]; ok {
			leave := regexp.MustCompile(u.pattern)
			lines = slices.DeleteFunc(lines, leave.MatchString)
		}
		slices.Sort(lines)
		seen[filepath.Base(file)] = lines
	}
	return seen
}

// compareTrees compares every file but what the probes wrote.
func compareTrees(t *testing.T, trees []string) {
	t.Helper()
	var lists []filelist.List
	for _, tree := range trees {
		l, err := filelist.Read(t.Context(), buildtest.Dirs{Root: tree, Boot: filepath.Join(tree, chroot.BootDir)})
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(l, func(path string, _ filelist.Entry) bool { return strings.HasPrefix(path, "/probe/") })
		lists = append(lists, l)
	}
	if len(lists[0]) < 30 {
		t.Fatalf("only %d files were compared", len(lists[0]))
	}
	for _, difference := range lists[0].Differences(lists[1]) {
		t.Error(fmt.Sprint("Packer and embedded differ: ", difference))
	}
}
