package device

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDefaults wants a boot to need nothing of what the API may have made of
// defaults.env, and the API to find its file again.
func TestDefaults(t *testing.T) {
	t.Parallel()
	shipped := newFake(t).read("cubeos/config/defaults.env")
	settings := regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(shipped, "")
	const foreign = "PATH=/nonexistent\nLD_PRELOAD=/nonexistent\nCUBEOS_ROOT=/nonexistent\n"
	const half = "CUBEOS_DOMAIN=cubeos.cube\nCUBEOS_COUNTRY_CODE=NL"
	for name, tt := range map[string]struct {
		have, want string
		lost       bool
	}{
		"whole":   {have: shipped, want: shipped},
		"empty":   {want: settings, lost: true},
		"cut off": {have: half, want: half + "\n" + strings.TrimPrefix(settings, "CUBEOS_DOMAIN=cubeos.cube\n"), lost: true},
		"foreign": {have: shipped + foreign, want: shipped + foreign},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.write("cubeos/config/defaults.env", tt.have)
			out, err := d.boot()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(tt.want, d.read("cubeos/config/defaults.env")); diff != "" {
				t.Errorf("defaults.env (-want +got):\n%s", diff)
			}
			if says := strings.Contains(out, "WARNING: defaults.env had lost CUBEOS_"); says != tt.lost {
				t.Errorf("it says that settings were lost: %v, want %v\n%s", says, tt.lost, out)
			}
			if strings.Contains(out, "/nonexistent") {
				t.Errorf("a variable that is not ours had an effect:\n%s", out)
			}
		})
	}
}

func TestBootDetection(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	for _, want := range []string{"first\n", "first\n", "normal\n"} {
		if want == "normal\n" {
			d.write("var/lib/cubeos/first-boot-complete", "")
		}
		if out, err := d.script("cubeos-boot-detect.sh", nil); err != nil || d.read("run/cubeos/boot-mode") != want {
			t.Errorf("boot mode %q (%v), want %q\n%s", d.read("run/cubeos/boot-mode"), err, want, out)
		}
	}
}

func TestGrowRoot(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		disk   string
		status string // growpart's
		want   []string
		fails  bool
	}{
		"room":              {disk: "16777216\n", want: []string{"growpart /dev/vda 2", "resize2fs /dev/vda2"}},
		"no room":           {disk: "3276800\n", want: []string{"resize2fs /dev/vda2"}},
		"nothing to change": {disk: "16777216\n", status: "1", want: []string{"growpart /dev/vda 2", "resize2fs /dev/vda2"}},
		"growpart fails":    {disk: "16777216\n", status: "2", want: []string{"growpart /dev/vda 2"}, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.write("sys/devices/vda/size", tt.disk)
			d.write("sys/devices/vda/vda2/partition", "2\n")
			d.write("sys/devices/vda/vda2/start", "147456\n")
			d.write("sys/devices/vda/vda2/size", "3129344\n")
			d.mkdir(d.root + "/sys/class/block")
			for link, target := range map[string]string{"vda": "../../devices/vda", "vda2": "../../devices/vda/vda2"} {
				if err := os.Symlink(target, d.root+"/sys/class/block/"+link); err != nil {
					t.Fatal(err)
				}
			}
			if tt.status != "" {
				d.stubFile("growpart-status", tt.status)
			}
			out, err := d.script("cubeos-grow-root.sh", nil, "STUB_ROOT_DEVICE=/dev/vda2")
			if (err != nil) != tt.fails {
				t.Errorf("%v\n%s", err, out)
			}
			if diff := cmp.Diff(tt.want, d.effects()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	d := newFake(t)
	if out, err := d.script("cubeos-grow-root.sh", nil, "STUB_ROOT_DEVICE=overlay"); err != nil || d.effects() != nil {
		t.Errorf("a root that is no partition: %v\n%s", err, out)
	}
}

func TestSSHHostKeys(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	run := func() (ed25519, ecdsa string) {
		t.Helper()
		if out, err := d.script("cubeos-ssh-keys.sh", nil); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return d.read("etc/ssh/ssh_host_ed25519_key"), d.read("etc/ssh/ssh_host_ecdsa_key")
	}
	a1, b1 := run()
	if got := d.mode("etc/ssh/ssh_host_ed25519_key"); got != 0o600 {
		t.Errorf("the key has mode %o", got)
	}
	if a2, b2 := run(); a2 != a1 || b2 != b1 {
		t.Error("running it again changed a key")
	}
	// What a power cut leaves of a file that was being written.
	d.write("etc/ssh/ssh_host_ed25519_key", "")
	a3, b3 := run()
	if a3 == "" || a3 == a1 || b3 != b1 {
		t.Error("an empty key was not replaced, or a whole one was")
	}
}

func TestHostName(t *testing.T) {
	t.Parallel()
	const others = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
	for name, tt := range map[string]struct {
		file, hosts, want, kernel, says string
		effects                         []string
	}{
		"as it is":        {"cubeos\n", others + "127.0.1.1 cubeos\n", others + "127.0.1.1 cubeos\n", "cubeos\n", "", nil},
		"the API's":       {"nest\n", others + "127.0.1.1\tnest", others + "127.0.1.1\tnest", "nest\n", "host name: nest", []string{"restart avahi-daemon.service"}},
		"the page's":      {"nest\n", "127.0.1.1 cubeos\n" + others, others + "127.0.1.1 nest\n", "nest\n", "host name: nest", []string{"restart avahi-daemon.service"}},
		"of cloud-init":   {"cubeos\n", others + "127.0.1.1 cubeos.local cubeos\n", others + "127.0.1.1 cubeos.local cubeos\n", "cubeos\n", "", nil},
		"a longer one":    {"cubeos\n", others + "127.0.1.1 cubeos-2", others + "127.0.1.1 cubeos\n", "cubeos\n", "", nil},
		"no line":         {"cubeos\n", others, others + "127.0.1.1 cubeos\n", "cubeos\n", "", nil},
		"cut off":         {"", others, others, "cubeos\n", "WARNING: '' in /etc/hostname is no host name", nil},
		"nonsense":        {"my cube\n", others, others, "cubeos\n", "this device is still called cubeos", nil},
		"ends in a dash":  {"cube-\n", others, others, "cubeos\n", "is no host name", nil},
		"64 letters long": {strings.Repeat("x", 64) + "\n", others, others, "cubeos\n", "is no host name", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newFake(t)
			d.stubFile("avahi-daemon", "")
			d.write("etc/hostname", tt.file)
			d.write("etc/hosts", tt.hosts)
			d.write("proc/sys/kernel/hostname", "cubeos\n")
			out := d.must("cubeos-hostname.sh")
			if !strings.Contains(out, tt.says) || tt.says == "" && out != "" {
				t.Errorf("it says %q, want %q", out, tt.says)
			}
			if diff := cmp.Diff([]string{tt.want, tt.kernel}, []string{d.read("etc/hosts"), d.read("proc/sys/kernel/hostname")}); diff != "" {
				t.Errorf("/etc/hosts and the kernel's name (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.effects, d.effects()); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if out := d.must("cubeos-hostname.sh"); d.effects() != nil || d.read("etc/hosts") != tt.want || strings.Contains(out, "host name: ") {
				t.Errorf("the next run does something: %s", out)
			}
		})
	}
}

// TestNetplan wants HAL's call to wait for the mode, and others to get the netplan
// that Raspberry Pi OS has.
func TestNetplan(t *testing.T) {
	t.Parallel()
	const netplan = "../configs/rootfs/usr/local/sbin/netplan"
	d := newFake(t)
	for _, verb := range []string{"apply", "generate"} {
		d.must(netplan, verb)
		if diff := cmp.Diff([]string{"restart cubeos-network-request.service"}, d.effects()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", verb, diff)
		}
	}
	if out, err := d.script(netplan, []string{"get"}); err == nil || !strings.Contains(out, "this device has dhcpcd") {
		t.Errorf("there is no other netplan: %v, %q", err, out)
	}
	d.write("usr/sbin/netplan", "#!/bin/sh\necho \"the other: $*\"\n")
	if err := os.Chmod(d.root+"/usr/sbin/netplan", 0o755); err != nil {
		t.Fatal(err)
	}
	if out := d.must(netplan, "get", "ethernets"); out != "the other: get ethernets\n" {
		t.Errorf("it says %q", out)
	}
}
