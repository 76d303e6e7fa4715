package device

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(repo, p))
		if err != nil || len(found) == 0 {
			t.Fatalf("no file matches %s (%v)", p, err)
		}
		all = append(all, found...)
	}
	return all
}

func TestScriptsStopAtErrors(t *testing.T) {
	t.Parallel()
	scripts := append(glob(t, "packer/scripts/*.sh", "firstboot/*.sh", "configs/rootfs/usr/local/sbin/*", "configs/rootfs/etc/systemd/system-generators/*"), "testdata/stub.sh")
	for _, script := range scripts {
		b, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), "\nset -Eeuo pipefail\n") {
			t.Errorf("%s has no `set -Eeuo pipefail`", script)
		}
	}
}

// TestUnits lets systemd read our units beside this machine's own.
func TestUnits(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("systemd-analyze is missing, so the units are unchecked: install the package systemd")
		}
		t.Skip("systemd-analyze is missing: install the package systemd")
	}
	root := t.TempDir()
	lib := filepath.Join(root, "usr/local/lib/cubeos")
	units := filepath.Join(root, "etc/systemd/system")
	sh := filepath.Join(root, "bin/sh")
	for _, dir := range []string{lib, filepath.Dir(sh), filepath.Join(root, "usr/lib/systemd")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(sh, []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := process.Run(t.Context(), "cp", "-R", "/usr/lib/systemd/system", filepath.Join(root, "usr/lib/systemd/")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(lib, os.DirFS(filepath.Join(repo, "firstboot"))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(units, os.DirFS(filepath.Join(repo, "firstboot/systemd"))); err != nil {
		t.Fatal(err)
	}
	argv := []string{"systemd-analyze", "verify", "--root=" + root, "--man=no"}
	for _, unit := range glob(t, "firstboot/systemd/*.*") {
		argv = append(argv, filepath.Base(unit))
	}
	var out strings.Builder
	err := process.Cmd{Argv: argv, Stdout: &out, Stderr: &out}.Run(t.Context())
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "cubeos") {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil && !t.Failed() {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestPlaceholders checks that what has to be filled in is filled in by
// 04-cubeos.sh or, for the access point, on the device.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(repo, "packer/scripts/04-cubeos.sh"))
	if err != nil {
		t.Fatal(err)
	}
	placeholder := regexp.MustCompile(`@[A-Z_]+@`)
	tree := filepath.Join(repo, "configs/rootfs")
	err = filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		landing := strings.TrimPrefix(path, tree)
		if placeholder.Match(b) && landing != "/usr/local/share/cubeos/hostapd.conf.in" &&
			!strings.Contains(string(script), "\n  "+landing+"\n") {
			t.Errorf("%s holds %s, but 04-cubeos.sh does not fill it in", path, placeholder.Find(b))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDockerConfiguration(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(repo, "configs/rootfs/etc/docker/daemon.json"))
	if err != nil {
		t.Fatal(err)
	}
	var conf map[string]any
	if err := json.Unmarshal(b, &conf); err != nil {
		t.Fatal(err)
	}
	for key, why := range map[string]string{
		"live-restore": "Swarm refuses it",
		"metrics-addr": "it opens a port",
		"hosts":        "the unit says where Docker listens",
	} {
		if _, there := conf[key]; there {
			t.Errorf("daemon.json sets %s: %s", key, why)
		}
	}
	if _, limited := conf["log-opts"]; !limited {
		t.Error("daemon.json does not limit the logs")
	}
	// Left to itself, Docker 26 takes the graph driver and Docker 29 containerd.
	for key, want := range map[string]any{
		"storage-driver": "overlay2",
		"features":       map[string]any{"containerd-snapshotter": false},
	} {
		if !reflect.DeepEqual(conf[key], want) {
			t.Errorf("daemon.json sets %s to %v, want %v: Debian's Docker and Docker's own have to store images alike", key, conf[key], want)
		}
	}
}

// TestImagesComeFromOnePlace wants every service to take its image from
// images.env, by the name that docker-images/ gives it.
func TestImagesComeFromOnePlace(t *testing.T) {
	t.Parallel()
	image := regexp.MustCompile(`(?m)^ +image: (.*)$`)
	var got []string
	for _, file := range glob(t, "configs/rootfs/cubeos/coreapps/*/appconfig/docker-compose.yml") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range image.FindAllStringSubmatch(string(b), -1) {
			got = append(got, m[1])
		}
	}
	var want []string
	all, err := services.Read(repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		want = append(want, "${"+imageVariable(s.Name)+":?}")
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("images %v, want %v", got, want)
	}
}
