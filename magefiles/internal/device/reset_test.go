package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

const (
	resetScript = "cubeos-factory-reset.sh"
	resetMarker = "var/lib/cubeos/factory-reset"
	factoryTar  = "var/lib/cubeos/factory.tar"
	owners      = "OWNER-7f3a" // is in the name or the content of all that is the owner's
	disk        = "cubeos/mounts/usb disk"
)

// tree is all that is on the card, but for what may be another after a reset.
func (d *fake) tree() map[string]string {
	d.t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(d.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		switch name {
		case "proc", "run", "sys", disk, "etc/ssl", "var/lib/dpkg", "var/lib/docker", "var/lib/cubeos/images":
			return fs.SkipDir
		case "etc/fstab", "etc/passwd", "etc/shadow", "etc/group", "etc/gshadow", "etc/resolv.conf", "etc/later.conf", "etc/adduser.conf", "boot/firmware/cmdline.txt":
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		found[name] = info.Mode().String()
		if e.Type().IsRegular() {
			b, err := os.ReadFile(path)
			found[name] += " " + string(b)
			return err
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return found
}

// asFromTheCard wants a device that was reset to be as its image.
func (d *fake) asFromTheCard(t *testing.T, image map[string]string) {
	t.Helper()
	got := d.tree()
	// Where var/lib has what packages bring, a directory more or less tells nothing.
	for name, content := range got {
		if _, ours := image[name]; !ours && strings.HasPrefix(content, "d") && strings.HasPrefix(name, "var/") || name == "cubeos/mounts/"+filepath.Base(disk) {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(image, got); diff != "" {
		t.Errorf("it is not as the image is (-want +got):\n%s", diff)
	}
	for path, want := range map[string]string{
		"etc/passwd":                "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\ncubeos:x:1000:1000:CubeOS:/home/cubeos:/bin/bash\n_later:x:120:65534::/:/usr/sbin/nologin\n",
		"etc/shadow":                "root:*:1:0:99999:7:::\nnobody:*::0:99999:7:::\ncubeos:*::0:99999:7:::\n_later:!::0:99999:7:::\n",
		"etc/group":                 "root:x:0:\nsudo:x:27:cubeos\ndocker:x:990:cubeos\ncubeos:x:1000:\nnogroup:x:65534:\n_later:x:120:_later\n",
		"etc/gshadow":               "root:*::\nsudo:*::cubeos\ndocker:!::cubeos\ncubeos:!::\nnogroup:*::\n_later:!::_later\n",
		"etc/fstab":                 "# new identity\nPARTUUID=2-01  /boot/firmware  vfat  defaults  0  2\nPARTUUID=2-02  /  ext4  defaults  0  1\n",
		"boot/firmware/cmdline.txt": "console=tty1 root=PARTUUID=2-02 rootwait\n",
		"etc/later.conf":            "brought by a package\n",
		"etc/adduser.conf":          "as a later package has it\n",
		"etc/ssl/certs/new":         "of a package\n",
		disk + "/film":              owners + "\n",
		"var/lib/docker/overlay2/l": "kept\n",
	} {
		if got := d.read(path); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	for _, what := range []string{d.root, d.stub} {
		out, err := process.Output(t.Context(), "sh", "-c", `cd "$1" && { grep -rl "$2" . ; find . -name "*$2*"; } | grep -v -e "/usb disk" -e ^./calls -e ^./effects || true`, "sh", what, owners)
		if err != nil || out != "" {
			t.Errorf("of the owner there is still, %v\n%s", err, out)
		}
	}
}

func (d *fake) reset(env ...string) (string, error) {
	d.t.Helper()
	d.remove("run/cubeos") // the device has restarted
	return d.script(resetScript, []string{"run"}, env...)
}

func TestFactoryReset(t *testing.T) {
	t.Parallel()
	image, used := owned(t)
	for name, test := range map[string]func(t *testing.T, image map[string]string, d *fake){
		"whole": wholeReset, "power cuts": cutResets, "damaged": refusedResets, "no boot partition": refusedWithoutBootPartition,
		"no Docker": resetWithoutDocker,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, image.tree(), used.clone(t))
		})
	}
}

func wholeReset(t *testing.T, image map[string]string, d *fake) {
	out, err := d.script(resetScript, []string{"request"})
	if got := d.effects(); err != nil || !d.exists(resetMarker) || !slices.Equal(got, []string{"reboot"}) {
		t.Fatalf("the request: %v, %q\n%s", err, got, out)
	}
	out, err = d.reset()
	if got := d.effects(); err != nil || d.exists(resetMarker) || len(got) == 0 || got[len(got)-1] != "reboot" {
		t.Fatalf("the reset: %v, %q\n%s", err, got, out)
	}
	d.asFromTheCard(t, image)
	for _, s := range list() {
		if !d.imageThere(s.Name) {
			t.Errorf("%s's image is gone, and there is no archive of it", s.Name)
		}
	}

	d.remove("run")
	for _, kept := range []string{"npm-users", "proxy-hosts"} { // as it would in /cubeos
		if err := os.RemoveAll(filepath.Join(d.stub, kept)); err != nil {
			t.Fatal(err)
		}
	}
	d.mkdir(filepath.Join(d.stub, "proxy-hosts"))
	out, err = d.boot()
	if err != nil || !strings.Contains(out, "CUBEOS: first boot complete after ") {
		t.Fatalf("the boot after: %v\n%s", err, out)
	}
	want := slices.DeleteFunc(slices.Clone(firstBoot), func(e string) bool { return strings.HasPrefix(e, "load ") || strings.HasPrefix(e, "jump ") })
	if diff := cmp.Diff(want, inOrder(d.effects())); diff != "" {
		t.Errorf("effects of the boot after (-want +got):\n%s", diff)
	}
}

func (d *fake) imageThere(name string) bool {
	_, err := os.Stat(filepath.Join(d.stub, "images", strings.ReplaceAll(reference(name), "/", "_")))
	return err == nil
}

// cutResets cuts the power before each call of a reset.
func cutResets(t *testing.T, image map[string]string, used *fake) {
	takesLong(t)
	used.remove("home/anna") // a call is a line, and one name has two
	used.write(resetMarker, "")
	used.unstub("calls")
	whole := used.clone(t)
	if out, err := whole.reset(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for n := 1; n <= whole.calls(); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			d := used.clone(t)
			if _, err := d.reset(fmt.Sprintf("STUB_DIE_AT=%d", n)); !powerCut(err) {
				t.Fatalf("the power was not cut: %v", err)
			}
			if d.exists(resetMarker) {
				if out, err := d.reset(); err != nil || d.exists(resetMarker) {
					t.Fatalf("the next boot: %v\n%s", err, out)
				}
			}
			d.asFromTheCard(t, image)
		})
	}
}

func refusedResets(t *testing.T, _ map[string]string, used *fake) {
	for name, damage := range map[string]func(d *fake){
		"damaged": func(d *fake) {
			d.write(factoryTar, strings.Replace(d.read(factoryTar), "etc/hostname", "etc/hostnamf", 1))
		},
		"gone":   func(d *fake) { d.remove(factoryTar) },
		"no sum": func(d *fake) { d.remove(factoryTar + ".sha256") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := used.clone(t)
			damage(d)
			out, err := d.script(resetScript, []string{"request"})
			if err == nil || d.exists(resetMarker) || d.effects() != nil || !strings.Contains(out, "only flashing the card again helps") {
				t.Errorf("the request: %v\n%s", err, out)
			}
			// It may be damaged after it was asked for.
			d.write(resetMarker, "")
			before := d.tree()
			delete(before, resetMarker)
			out, err = d.reset()
			if err == nil || d.effects() != nil || !strings.Contains(out, "the device stays as it is") {
				t.Errorf("the reset: %v\n%s", err, out)
			}
			if diff := cmp.Diff(before, d.tree()); diff != "" {
				t.Errorf("something was deleted (-want +got):\n%s", diff)
			}
		})
	}
}

func refusedWithoutBootPartition(t *testing.T, _ map[string]string, d *fake) {
	d.remove("boot")
	if out, err := d.script(resetScript, []string{"request"}); err == nil || !strings.Contains(out, "the boot partition is not mounted") {
		t.Errorf("without a boot partition: %v\n%s", err, out)
	}
}

// resetWithoutDocker wants the owner's data gone even so, and says what
// that costs.
func resetWithoutDocker(t *testing.T, _ map[string]string, d *fake) {
	d.write(resetMarker, "")
	d.stubFile("docker-broken", "")
	d.remove("var/lib/docker/swarm") // it is not the reason
	out, err := d.reset()
	if err != nil || !strings.Contains(out, "flash the card again") {
		t.Errorf("%v\n%s", err, out)
	}
	left, err := os.ReadDir(filepath.Join(d.root, "var/lib/docker"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) != 0 {
		t.Errorf("of Docker's data there is still %v, %v", left, err)
	}
}

func TestFactoryTarIsReproducible(t *testing.T) {
	t.Parallel()
	one, other := packedImage(t), packedImage(t)
	if one.read(factoryTar) != other.read(factoryTar) {
		t.Error("two builds make two of them")
	}
	if size := len(one.read(factoryTar)); size > 1<<20 {
		t.Errorf("it has %d bytes", size)
	}
}

// TestFactoryResetGenerator wants a boot to have the unit only where it was asked for.
func TestFactoryResetGenerator(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	out := t.TempDir()
	for _, asked := range []bool{false, true} {
		if asked {
			d.write(resetMarker, "")
		}
		d.must("../configs/rootfs/etc/systemd/system-generators/cubeos-factory-reset", out, out, out)
		link, err := os.Readlink(filepath.Join(out, "multi-user.target.wants/cubeos-factory-reset.service"))
		if asked != (link == "/etc/systemd/system/cubeos-factory-reset.service") {
			t.Errorf("asked for: %v, the unit is %q, %v", asked, link, err)
		}
	}
}
