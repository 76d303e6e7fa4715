package device

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// repo is the top of the checkout, seen from this package.
const repo = "../../.."

// TestMain opens every file that the tests let other programs read: go test takes
// a result from its cache unless a file that this process has opened is another.
func TestMain(m *testing.M) {
	for _, dir := range []string{"firstboot", "packer/scripts", "configs"} {
		if err := fs.WalkDir(os.DirFS(filepath.Join(repo, dir)), ".", func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				_, err = os.ReadFile(filepath.Join(repo, dir, path))
			}
			return err
		}); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := os.ReadFile("testdata/stub.sh"); err != nil {
		log.Fatal(err)
	}
	m.Run()
}

// list is what a usual profile runs.
var list = sync.OnceValue(func() services.List {
	all, err := services.Read(repo)
	if err == nil {
		all, err = all.For(nil)
	}
	if err != nil {
		panic(err)
	}
	return all
})

// reference is what images.env has for a service.
func reference(name string) string {
	if name == "pihole" {
		return "docker.io/pihole/pihole:1.0.0" // Docker leaves out its own registry's name
	}
	return "registry.example/" + name + ":1.0.0"
}

func imageVariable(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_IMAGE"
}

// fake is a device's file tree and the state of the programs its scripts call.
type fake struct {
	t    *testing.T
	root string // the device's /
	stub string // what the stub programs keep
	bin  string
}

// newFake makes a device as it comes out of the build: configured, archives in
// place, never booted.
func newFake(t *testing.T) *fake {
	t.Helper()
	dir := t.TempDir()
	d := &fake{t: t, root: filepath.Join(dir, "root"), stub: filepath.Join(dir, "stub"), bin: filepath.Join(dir, "bin")}
	for _, p := range []string{"containers", "services", "secrets", "images", "volumes", "sick", "orphans", "proxy-hosts"} {
		d.mkdir(filepath.Join(d.stub, p))
	}
	d.mkdir(d.bin)
	stub, err := filepath.Abs("testdata/stub.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"docker", "curl", "systemctl", "fstrim", "iptables", "iptables-restore", "iptables-save", "ip6tables", "ip6tables-restore",
		"ip", "iw", "rfkill", "sync", "agetty", "journalctl", "mountpoint", "findmnt", "growpart", "resize2fs",
		"getent", "id", "usermod", "visudo", "python3", "wpa_cli",
	} {
		if err := os.Symlink(stub, filepath.Join(d.bin, name)); err != nil {
			t.Fatal(err)
		}
	}

	if err := os.CopyFS(d.root, os.DirFS(filepath.Join(repo, "configs/rootfs"))); err != nil {
		t.Fatal(err)
	}
	d.write("cubeos/config/defaults.env", strings.NewReplacer("@CUBEOS_WIFI_COUNTRY@", "NL", "@CUBEOS_WIFI_KEY_MODE@", "mac", "@CUBEOS_DEVICE_PASSWORDS@", "documented").
		Replace(d.read("cubeos/config/defaults.env")))
	d.write("usr/local/share/cubeos/defaults.env", d.read("cubeos/config/defaults.env"))
	d.write("usr/local/share/cubeos/pihole/gravity.db", "SQLite format 3\x00")
	d.write("etc/cubeos-release", "CUBEOS_VERSION=1.2.3\nCUBEOS_PROFILE=lab\n")
	d.mkdir(filepath.Join(d.root, "proc/sys/net/ipv6"))
	d.write("proc/sys/net/ipv4/ip_forward", "1\n")
	d.write("proc/uptime", "1000.25 2000.50\n")
	d.mkdir(filepath.Join(d.root, "boot/firmware"))
	shipped, err := json.Marshal(map[string]services.List{"services": list()})
	if err != nil {
		t.Fatal(err)
	}
	d.write("usr/local/share/cubeos/services.json", string(shipped))
	var env, sums, answering strings.Builder
	for _, s := range list() {
		archive := reference(s.Name) + "\n"
		d.write("var/lib/cubeos/images/"+s.Name+".tar", archive)
		fmt.Fprintf(&env, "%s=%s\n", imageVariable(s.Name), reference(s.Name))
		fmt.Fprintf(&sums, "%x  %s.tar\n", sha256.Sum256([]byte(archive)), s.Name)
		runs := "containers/" + s.ContainerName()
		if s.Kind == services.Stack {
			runs = "services/" + s.SwarmService()
		}
		fmt.Fprintln(&answering, s.HealthURL(), s.Name, runs)
	}
	d.stubFile("services.txt", answering.String())
	d.stubFile("bridge", `{"IPAM": {"Config": [{"Subnet": "172.16.16.0/20", "Gateway": "172.16.16.1"}]}}`)
	d.write("var/lib/cubeos/images/images.env", env.String())
	d.write("var/lib/cubeos/images/SHA256SUMS", sums.String())
	d.write("cubeos/config/images.env", env.String())
	d.write("sys/class/net/wlan0/address", "dc:a6:32:01:ab:cd\n")
	return d
}

// script runs one boot script and returns what it printed.
func (d *fake) script(name string, args []string, env ...string) (string, error) {
	d.t.Helper()
	return d.scriptAsking(name, args, "", env...)
}

// scriptAsking is script with something on standard input.
func (d *fake) scriptAsking(name string, args []string, stdin string, env ...string) (string, error) {
	d.t.Helper()
	path, err := filepath.Abs(filepath.Join(repo, "firstboot", name))
	if err != nil {
		d.t.Fatal(err)
	}
	var out bytes.Buffer
	err = process.Cmd{
		// The stubs cut the power by killing the script's process group;
		// timeout(1) gives what it runs a group of its own.
		Argv: append([]string{"bash", "-c", `STUB_GROUP=$$ exec bash "$0" "$@"`, path}, args...),
		Env: append([]string{
			"PATH=" + d.bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent",
			"CUBEOS_ROOT=" + d.root, "STUB_STATE=" + d.stub, "CUBEOS_POLL=0.01",
			"CUBEOS_HEALTH_TIMEOUT=1", "CUBEOS_DOCKER_TIMEOUT=1", "CUBEOS_SWARM_TIMEOUT=1",
		}, env...),
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &out,
	}.Run(d.t.Context())
	return out.String(), err
}

// boot does what the units do: load archives where there are any, decide, go
// that way.
func (d *fake) boot(env ...string) (string, error) {
	d.t.Helper()
	var all strings.Builder
	var failed []error
	step := func(name string) bool {
		out, err := d.script(name, nil, env...)
		all.WriteString(out)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		}
		return !powerCut(err)
	}
	if tars, _ := filepath.Glob(filepath.Join(d.root, "var/lib/cubeos/images/*.tar")); len(tars) > 0 {
		if !step("cubeos-docker-preload.sh") {
			return all.String(), errors.Join(failed...)
		}
	}
	if step("cubeos-boot-detect.sh") {
		step("cubeos-" + strings.TrimSpace(d.read("run/cubeos/boot-mode")) + "-boot.sh")
	}
	return all.String(), errors.Join(failed...)
}

// mustBoot is boot for a test that goes on from there.
func (d *fake) mustBoot() {
	d.t.Helper()
	if out, err := d.boot(); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
}

// clone copies a device with all that its stubs keep.
func (d *fake) clone(t *testing.T) *fake {
	t.Helper()
	from, to := filepath.Dir(d.root), t.TempDir()
	if err := process.Run(t.Context(), "cp", "-a", from+"/.", to); err != nil {
		t.Fatal(err)
	}
	return &fake{t: t, root: filepath.Join(to, "root"), stub: filepath.Join(to, "stub"), bin: filepath.Join(to, "bin")}
}

// takesLong is for what boots devices again and again.
func takesLong(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it boots many devices: test:integration runs it")
	}
}

// everyCut is from one power cut of a script to the next: the quick tests try some
// of the moments.
func everyCut() int {
	if testing.Short() {
		return 3
	}
	return 1
}

// powerCut reports whether a script ended because a stub killed its group.
func powerCut(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && !exit.Exited()
}

func (d *fake) mkdir(path string) {
	d.t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		d.t.Fatal(err)
	}
}

// write sets a file of the device.
func (d *fake) write(path, content string) {
	d.t.Helper()
	path = filepath.Join(d.root, path)
	d.mkdir(filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *fake) read(path string) string {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.root, path))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

func (d *fake) remove(path string) {
	d.t.Helper()
	if err := os.RemoveAll(filepath.Join(d.root, path)); err != nil {
		d.t.Fatal(err)
	}
}

func (d *fake) exists(path string) bool {
	_, err := os.Stat(filepath.Join(d.root, path))
	return err == nil
}

func (d *fake) mode(path string) os.FileMode {
	d.t.Helper()
	info, err := os.Stat(filepath.Join(d.root, path))
	if err != nil {
		d.t.Fatal(err)
	}
	return info.Mode().Perm()
}

func (d *fake) stubbed(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.stub, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// stubFile sets a file of the stubs' state.
func (d *fake) stubFile(name, content string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.stub, name), []byte(content), 0o644); err != nil {
		d.t.Fatal(err)
	}
}

func (d *fake) unstub(name string) {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.stub, name)); err != nil {
		d.t.Fatal(err)
	}
}

// effects are the changes made since the last call, in their order.
func (d *fake) effects() []string {
	d.t.Helper()
	path := filepath.Join(d.stub, "effects")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func (d *fake) calls() int {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.stub, "calls"))
	if err != nil {
		d.t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}
