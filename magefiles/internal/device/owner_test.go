package device

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packedImage makes a device as its image's last provisioner leaves it.
func packedImage(t *testing.T) *fake {
	t.Helper()
	d := newFake(t)
	for _, name := range []string{"rm", "mv", "tar"} { // their power can be cut, too
		if err := os.Symlink(filepath.Join(d.bin, "docker"), filepath.Join(d.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	const ofBuild = "etc/apt/apt.conf.d/00native-assist"
	d.write(ofBuild, "")
	defer d.remove(ofBuild)
	for path, content := range map[string]string{
		"etc/passwd":  "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\ncubeos:x:1000:1000:CubeOS:/home/cubeos:/bin/bash\n",
		"etc/shadow":  "root:*::0:99999:7:::\nnobody:*::0:99999:7:::\ncubeos:*::0:99999:7:::\n",
		"etc/group":   "root:x:0:\nsudo:x:27:cubeos\ndocker:x:990:cubeos\ncubeos:x:1000:\nnogroup:x:65534:\n",
		"etc/gshadow": "root:*::\nsudo:*::cubeos\ndocker:!::cubeos\ncubeos:!::\nnogroup:*::\n",
		"etc/subuid":  "cubeos:100000:65536\n", "etc/subgid": "cubeos:100000:65536\n",
		"etc/fstab":                  "PARTUUID=1-01  /boot/firmware  vfat  defaults  0  2\nPARTUUID=1-02  /  ext4  defaults  0  1\n",
		"etc/hostname":               "cubeos\n",
		"etc/machine-id":             "",
		"etc/resolv.conf":            "",
		"etc/adduser.conf":           "VERBOSE=1\n",
		"etc/ssl/certs/old":          "of a package\n",
		"etc/profile":                "umask 022\n",
		"home/cubeos/.profile":       "# of the image\n",
		"root/.bashrc":               "# of the image\n",
		"usr/local/bin/ours":         "#!/bin/sh\n",
		"usr/share/package":          "",
		"var/log/README":             "",
		"var/lib/dpkg/info/all.list": "/.\n/etc\n/etc/adduser.conf\n/etc/profile\n/var/log\n/var/lib/dhcpcd\n",
		"var/lib/dpkg/status": "Package: adduser\nConffiles:\n /etc/adduser.conf 03cd3efff07b3a98fd9cbee211cab7e9\n" +
			" /etc/profile 00000000000000000000000000000000\n",
		"boot/firmware/user-data":   "#cloud-config\n",
		"boot/firmware/meta-data":   "instance-id: base-image\n",
		"boot/firmware/cmdline.txt": "console=tty1 root=PARTUUID=1-02 rootwait\n",
		"proc/self/mountinfo":       "1 0 179:2 / / rw - ext4 /dev/root rw\n2 1 8:1 / /" + strings.ReplaceAll(disk, " ", `\040`) + " rw - ext4 /dev/sda1 rw\n",
		disk + "/film":              owners,
	} {
		d.write(path, content)
	}
	d.remove(disk)
	d.mkdir(filepath.Join(d.root, "cubeos/mounts"))
	d.mkdir(filepath.Join(d.root, "lost+found"))
	if out, err := d.script(resetScript, []string{"pack"}, "SOURCE_DATE_EPOCH=1754697600"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return d
}

// owned is a device that has been used: its owner is in every place that there is.
func owned(t *testing.T) (image, used *fake) {
	t.Helper()
	image = packedImage(t)
	d := image.clone(t)
	d.mustBoot()
	for _, path := range []string{
		"cubeos/data/" + owners, "cubeos/apps/" + owners + "/data/deep/file", "cubeos/" + owners, "cubeos/config/" + owners,
		"cubeos/coreapps/pihole/appdata/" + owners, "cubeos/coreapps/" + owners + "/compose.yml", "cubeos/mounts/left behind/" + owners,
		"home/cubeos/.ssh/authorized_keys", "home/cubeos/.bash_history", "home/anna/with a\nnew line/" + owners, "root/.ssh/authorized_keys", "root/" + owners,
		"etc/netplan/01-cubeos.yaml", "etc/wpa_supplicant/wpa_supplicant-wlan1.conf", "etc/sudoers.d/90-cloud-init-users",
		"etc/systemd/system/" + owners + ".service", "etc/ssh/ssh_host_ed25519_key", "etc/cron.d/" + owners, "etc/shadow-", "etc/ssl/private/" + owners,
		"usr/local/bin/" + owners, "opt/" + owners, "srv/" + owners, "mnt/" + owners, "media/" + owners, "data/" + owners + "/file", ".hidden/" + owners, "note of " + owners,
		"var/log/" + owners + ".log", "var/spool/cron/crontabs/cubeos", "var/mail/cubeos", "var/backups/shadow.bak", "var/tmp/" + owners, "lost+found/#1",
		"var/lib/cloud/instance/user-data.txt", "var/lib/dhcpcd/wlan1.lease", "var/lib/bluetooth/paired", "var/lib/cubeos/" + owners,
		"var/lib/systemd/linger/cubeos", "var/lib/systemd/random-seed", "var/lib/docker/volumes/" + owners + "/_data/file", "var/lib/docker/engine-id",
		"boot/firmware/cubeos-wifi.txt", "boot/firmware/user-data", "boot/firmware/network-config", "boot/firmware/wpa_supplicant.conf",
		"etc/hostname", "etc/profile", "usr/local/bin/ours", "home/cubeos/.profile", "etc/ssh/sshd_config.d/10-cubeos.conf",
		"etc/docker/daemon.json", "usr/local/share/cubeos/defaults.env", "var/lib/docker/swarm/" + owners, disk + "/film",
	} {
		d.write(path, owners+"\n")
	}
	for path, content := range map[string]string{
		"etc/passwd":                   "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\ncubeos:x:1000:1000:" + owners + ":/home/cubeos:/bin/zsh\nanna:x:1001:1001::/home/anna:/bin/bash\n_later:x:120:65534::/:/usr/sbin/nologin\n",
		"etc/shadow":                   "root:$6$" + owners + ":1:0:99999:7:::\nnobody:*::0:99999:7:::\ncubeos:$6$" + owners + "::0:99999:7:::\nanna:!$6$" + owners + ":1:0:99999:7:::\n_later:!::0:99999:7:::\n",
		"etc/group":                    "root:x:0:\nsudo:x:27:cubeos,anna\ndocker:x:990:anna\ncubeos:x:1000:anna\nnogroup:x:65534:\nanna:x:1001:cubeos\n_later:x:120:anna,_later,cubeos\n",
		"etc/gshadow":                  "root:*::\nsudo:*:anna:cubeos,anna\ndocker:!::anna\ncubeos:!::anna\nnogroup:*::\nanna:!::cubeos\n_later:!::anna,_later,cubeos\n",
		"etc/subuid":                   "cubeos:100000:65536\nanna:165536:65536\n",
		"etc/fstab":                    "# new identity\nPARTUUID=2-01  /boot/firmware  vfat  defaults  0  2\nPARTUUID=2-02  /  ext4  defaults  0  1\nUUID=9 /srv/" + owners + " ext4 defaults 0 0\n",
		"etc/machine-id":               "0123456789abcdef0123456789abcdef\n",
		"etc/resolv.conf":              "# of dhcpcd\n",
		"etc/ssl/certs/new":            "of a package\n",
		"boot/firmware/cmdline.txt":    "console=tty1 root=PARTUUID=2-02 rootwait cfg80211.ieee80211_regdom=GR ds=nocloud;i=" + owners + "\n",
		"var/lib/docker/overlay2/l":    "kept\n",
		"var/lib/dpkg/info/later.list": "/etc/later.conf\n",
		"etc/later.conf":               "brought by a package\n",
		"etc/adduser.conf":             "as a later package has it\n",
	} {
		d.write(path, content)
	}
	d.remove("root/.bashrc")
	d.remove("usr/local/share/cubeos/services.json")
	d.write("usr/local/share/cubeos/services.json/a directory", owners)
	for _, name := range []string{"containers/" + owners, "volumes/" + owners} {
		d.stubFile(name, owners)
	}
	d.stubFile("images/dangling", "<none>:<none>\n")
	d.stubFile("images/example_"+owners, "example/"+owners+"\n")
	d.effects()
	return image, d
}
