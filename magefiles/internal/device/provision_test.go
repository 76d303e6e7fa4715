package device

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// base is what a base image has of that which the provisioners change.
type base struct {
	files   map[string]string
	enabled []string // units, all wanted by multi-user.target
}

// debianBase is a base image as the lab has it.
func debianBase() base {
	unit := "[Service]\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n"
	b := base{files: map[string]string{
		"etc/passwd":                         "root:x:0:0:root:/root:/bin/bash\n",
		"etc/shadow":                         "root:*:::::::\n",
		"etc/group":                          "root:x:0:\nsudo:x:27:\nadm:x:4:\nvideo:x:44:\ndocker:x:998:\n",
		"etc/gshadow":                        "root:*::\nsudo:*::\nadm:*::\nvideo:*::\ndocker:!::\n",
		"etc/subuid":                         "",
		"etc/subgid":                         "",
		"etc/initramfs-tools/initramfs.conf": "MODULES=most\n",
		"etc/initramfs-tools/update-initramfs.conf": "update_initramfs=yes\n",
		"etc/apt/sources.list":                      "",
		"etc/initramfs/post-update.d/copy":          "#!/bin/sh\ncp /boot/initrd.img-6.12 /boot/firmware/\n",
		"boot/firmware/cmdline.txt":                 "console=tty1 root=PARTUUID=5a3c9d02-02 rootwait cgroup_enable=memory\n",
		"usr/lib/systemd/system/getty@.service":     "[Service]\nExecStart=true\n[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n",
	}}
	for _, name := range []string{"ssh", "fail2ban", "docker", "containerd", "systemd-timesyncd"} {
		b.files["usr/lib/systemd/system/"+name+".service"] = unit
	}
	return b
}

// raspberryPiOS is one as pi-gen leaves it.
func raspberryPiOS() base {
	b := debianBase()
	maps.Copy(b.files, map[string]string{
		"etc/passwd":                             "root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000:,,,:/home/pi:/bin/bash\n",
		"etc/shadow":                             "root:*:::::::\npi:!:::::::\n",
		"etc/group":                              "root:x:0:\nsudo:x:27:pi\nadm:x:4:pi\nvideo:x:44:pi\ngpio:x:993:pi\ndocker:x:998:\npi:x:1000:\n",
		"etc/gshadow":                            "root:*::\nsudo:*::pi\nadm:*::pi\nvideo:*::pi\ngpio:!::pi\ndocker:!::\npi:!::\n",
		"etc/subuid":                             "pi:100000:65536\n",
		"etc/subgid":                             "pi:100000:65536\n",
		"etc/sudoers.d/010_pi-nopasswd":          "pi ALL=(ALL) NOPASSWD: ALL\n",
		"etc/ssh/sshd_config.d/rename_user.conf": "Banner /usr/share/userconf-pi/sshd_banner\n",
		"etc/initramfs-tools/initramfs.conf":     "MODULES=dep\n",
		"boot/initrd.img-6.12":                   "old",
		"etc/initramfs/post-update.d/copy":       "#!/bin/sh\ncp /boot/initrd.img-6.12 /boot/firmware/initramfs8\n",
		"home/pi/.profile":                       "",
		"boot/firmware/cmdline.txt":              "console=serial0,115200 console=tty1 root=PARTUUID=5a3c9d02-02 rootfstype=ext4 fsck.repair=yes rootwait resize\n",
		"usr/lib/systemd/system-generators/rpi-swap-generator": "#!/bin/sh\n",
	})
	b.enabled = []string{
		"NetworkManager", "rpi-resize", "rpi-eeprom-update", "userconfig", "regenerate_ssh_host_keys", "sshswitch",
		"avahi-daemon", "bluetooth",
	}
	for _, name := range b.enabled {
		b.files["usr/lib/systemd/system/"+name+".service"] = b.files["usr/lib/systemd/system/ssh.service"]
	}
	return b
}

// stubbed are programs that only note how they were called, and whether packages
// may make the initramfs then.
var stubbed = []string{
	"apt-get", "update-initramfs", "locale-gen", "docker", "dockerd", "visudo", "sshd", "fail2ban-client",
}

const noteTaker = `#!/bin/sh
echo "${0##*/} $* ($(cat /etc/initramfs-tools/update-initramfs.conf))" >>/var/log/calls
if [ "${0##*/}" = update-initramfs ]; then
  echo new >/boot/initrd.img-6.12
  run-parts /etc/initramfs/post-update.d
fi
`

// provision runs the scripts over the base in a mount namespace, below which the
// build machine's own files are, and returns the directory with what is different
// from those then, and what the scripts have printed.
func (b base) provision(t *testing.T, times int) (dir, said string, err error) {
	t.Helper()
	tree, out := t.TempDir(), t.TempDir()
	write := func(path, content string, mode fs.FileMode) {
		t.Helper()
		path = filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(tree, os.DirFS(filepath.Join(repo, "configs/rootfs"))); err != nil {
		t.Fatal(err)
	}
	for path, content := range b.files {
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		write(path, content, mode)
	}
	for _, name := range b.enabled {
		wants := filepath.Join(tree, "etc/systemd/system/multi-user.target.wants")
		if err := os.MkdirAll(wants, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/usr/lib/systemd/system/"+name+".service", filepath.Join(wants, name+".service")); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range stubbed {
		write("opt/stubs/"+name, noteTaker, 0o755)
	}
	for script, as := range map[string]string{"lib": "tmp/cubeos-lib.sh", "01-base-setup": "opt/1", "03-docker": "opt/2", "04-cubeos": "opt/3"} {
		content, err := os.ReadFile(filepath.Join(repo, "packer/scripts", script+".sh"))
		if err != nil {
			t.Fatal(err)
		}
		write(as, string(content), 0o755)
	}
	var printed strings.Builder
	err = process.Cmd{
		Env: []string{
			"PATH=/opt/stubs:/usr/sbin:/usr/bin:/sbin:/bin", "SYSTEMD_OFFLINE=1", "CUBEOS_HOSTNAME=cubeos", "CUBEOS_USER=cubeos",
			"CUBEOS_LOCALE=C.UTF-8", "CUBEOS_TIMEZONE=Etc/UTC", "CUBEOS_UNATTENDED_UPGRADES=false", "DOCKER_SOURCE=debian",
			"CUBEOS_WIFI_COUNTRY=NL", "CUBEOS_WIFI_KEY_MODE=mac", "CUBEOS_DEVICE_PASSWORDS=documented", "CUBEOS_OPTIONAL_SERVICES=registry",
		},
		Argv: []string{
			"/usr/bin/unshare", "--mount", "--propagation", "private", "sh", "-euc", `tree=$1 out=$2 times=$3
mount -t tmpfs none /mnt && mkdir /mnt/up /mnt/work /mnt/root
cp -a "$tree/." /mnt/up
chmod 1777 /mnt/up/tmp
# Nothing of the build machine's own /boot.
python3 -c 'import os; os.setxattr("/mnt/up/boot", "trusted.overlay.opaque", b"y")'
mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work none /mnt/root
mount -t tmpfs none /mnt/root/dev && mknod -m 666 /mnt/root/dev/null c 1 3
mkdir -p /mnt/root/proc && mount -t proc none /mnt/root/proc
for time in $(seq "$times"); do
  for script in 1 2 3; do chroot /mnt/root "/opt/$script"; done
done
umount /mnt/root/dev /mnt/root/proc
cp -a /mnt/up/. "$out"`, "sh", tree, out, fmt.Sprint(times),
		},
		Stdout: &printed, Stderr: &printed,
	}.Run(t.Context())
	return out, printed.String(), err
}

func (b base) mustProvision(t *testing.T, times int) string {
	t.Helper()
	dir, said, err := b.provision(t, times)
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return dir
}

// TestProvisionersOnABaseImage wants the two base images to become one and the
// same device, with a single owner of its first boot.
func TestProvisionersOnABaseImage(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: the scripts' paths can not be put elsewhere")
	}
	masked, off := "/dev/null", "not enabled"
	for name, tt := range map[string]struct {
		base  base
		files map[string]string // "" is none
		units map[string]string
	}{
		"Debian": {debianBase(), map[string]string{
			"boot/firmware/cmdline.txt":       "console=tty1 root=PARTUUID=5a3c9d02-02 rootwait cgroup_enable=memory\n",
			"etc/systemd/zram-generator.conf": "[zram0]\nzram-size = min(ram / 2, 2048)\ncompression-algorithm = zstd\n",
		}, nil},
		"Raspberry Pi OS": {raspberryPiOS(), map[string]string{
			"boot/firmware/cmdline.txt":              "console=serial0,115200 console=tty1 root=PARTUUID=5a3c9d02-02 rootfstype=ext4 fsck.repair=yes rootwait cgroup_enable=memory\n",
			"etc/ssh/sshd_config.d/rename_user.conf": "",
			"etc/sudoers.d/010_pi-nopasswd":          "",
			"etc/systemd/zram-generator.conf":        "",
			"home/pi/.profile":                       "",
		}, map[string]string{
			"rpi-resize": masked, "rpi-eeprom-update": masked, "userconfig": masked, "regenerate_ssh_host_keys": masked, "sshswitch": masked,
			"avahi-daemon": off, "bluetooth": off,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tt.base.mustProvision(t, 1)
			want := map[string]string{
				"etc/subuid":                         "cubeos:100000:65536\n",
				"etc/subgid":                         "cubeos:100000:65536\n",
				"etc/initramfs-tools/conf.d/modules": "MODULES=most\n",
				"etc/initramfs-tools/conf.d/root-file-system": "FSTYPE=ext4\n",
				"etc/initramfs-tools/update-initramfs.conf":   "update_initramfs=yes\n",
			}
			maps.Copy(want, tt.files)
			for path, content := range want {
				if got := left(dir, path); got != content {
					t.Errorf("/%s is %q, want %q", path, got, content)
				}
			}
			for unit, state := range tt.units {
				if got := unitState(dir, unit+".service"); got != state {
					t.Errorf("%s.service is %s, want %s", unit, got, state)
				}
			}
			if got := accounts(dir); got != "root 0, cubeos 1000" {
				t.Errorf("there are the accounts %s", got)
			}
			made := []string{}
			for call := range strings.Lines(left(dir, "var/log/calls")) {
				switch program, _, _ := strings.Cut(call, " "); program {
				case "apt-get":
					if !strings.Contains(call, "update_initramfs=no") {
						t.Errorf("packages may make the initramfs: %s", call)
					}
				case "update-initramfs":
					made = append(made, strings.TrimSpace(call))
				}
			}
			if diff := cmp.Diff([]string{"update-initramfs -c -k all (update_initramfs=yes)"}, made); diff != "" {
				t.Errorf("the initramfs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestProvisionersCanRunAgain wants a second run to change nothing.
func TestProvisionersCanRunAgain(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: the scripts' paths can not be put elsewhere")
	}
	once, twice := raspberryPiOS().mustProvision(t, 1), raspberryPiOS().mustProvision(t, 2)
	for _, path := range []string{
		"boot/firmware/cmdline.txt", "etc/passwd", "etc/shadow", "etc/group", "etc/subuid", "etc/hosts",
		"usr/local/share/cubeos/services.json", "etc/sudoers.d/010_cubeos", "cubeos/config/defaults.env",
	} {
		if diff := cmp.Diff(left(once, path), left(twice, path)); diff != "" {
			t.Errorf("/%s (-once +twice):\n%s", path, diff)
		}
	}
}

// TestAnInitramfsThatTheFirmwareWouldNotLoad wants it to be noticed.
func TestAnInitramfsThatTheFirmwareWouldNotLoad(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("not root: the scripts' paths can not be put elsewhere")
	}
	b := raspberryPiOS()
	b.files["boot/firmware/initramfs8"] = "old"
	b.files["etc/initramfs/post-update.d/copy"] = "#!/bin/sh\n"
	if _, said, err := b.provision(t, 1); err == nil || !strings.Contains(said, "no file in /boot/firmware is the same as /boot/initrd.img-6.12") {
		t.Errorf("%v\n%s", err, said)
	}
}

// left returns what a file of a provisioned tree holds, "" if there is none.
func left(dir, path string) string {
	path = filepath.Join(dir, path)
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return "" // overlayfs has a device where a file was deleted
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func unitState(dir, unit string) string {
	units := filepath.Join(dir, "etc/systemd/system")
	if target, err := os.Readlink(filepath.Join(units, unit)); err == nil && target == "/dev/null" {
		return target
	}
	wants, _ := filepath.Glob(filepath.Join(units, "*.wants", unit))
	if slices.ContainsFunc(wants, func(path string) bool {
		info, err := os.Lstat(path)
		return err == nil && info.Mode()&fs.ModeSymlink != 0
	}) {
		return "enabled"
	}
	return "not enabled"
}

// accounts are the names and numbers in /etc/passwd.
func accounts(dir string) string {
	var all []string
	for line := range strings.Lines(left(dir, "etc/passwd")) {
		if f := strings.Split(line, ":"); len(f) > 2 {
			all = append(all, f[0]+" "+f[2])
		}
	}
	return strings.Join(all, ", ")
}
