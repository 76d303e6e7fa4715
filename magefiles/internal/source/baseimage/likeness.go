package baseimage

import (
	"bytes"
	"embed"
	"io/fs"
	"path"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
)

// Likeness is what a bootstrapped base image is like.
type Likeness string

// What a base image can be like. Both have Raspberry Pi OS's layout.
const (
	// LikeDebian is Debian with little more than an image build needs.
	LikeDebian Likeness = "debian"
	// LikeRaspiOS behaves to an image build and at first boot like Raspberry Pi
	// OS Lite.
	LikeRaspiOS Likeness = "raspios"
)

var (
	//go:embed bootstrap.sh
	bootstrapScript []byte
	//go:embed raspios.sh
	raspiosScript []byte
	// raspios has what Raspberry Pi OS has and Debian lacks: trees of packages,
	// and what is on the boot partition.
	//
	//go:embed all:raspios
	raspios embed.FS
)

// step is a script that makes a layer of a base image.
type step struct {
	name   string
	script []byte
	args   []string
	files  []chroot.InjectedFile
}

func (from Debian) steps() []step {
	steps := []step{
		{name: "unpack", script: bootstrapScript, args: []string{"unpack"}},
		{name: "configure", script: bootstrapScript, args: []string{"configure"}},
	}
	if from.Like == LikeRaspiOS {
		steps = append(steps, step{name: "Raspberry Pi OS", script: raspiosScript, files: raspiosFiles()})
	}
	return steps
}

// raspiosFiles are the embedded files, below /tmp. A file that names its
// interpreter is a program.
func raspiosFiles() []chroot.InjectedFile {
	var files []chroot.InjectedFile
	err := fs.WalkDir(raspios, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := raspios.ReadFile(name)
		f := chroot.InjectedFile{Path: path.Join("tmp", name), Mode: 0o644, Data: data}
		if bytes.HasPrefix(data, []byte("#!")) {
			f.Mode = 0o755
		}
		files = append(files, f)
		return err
	})
	if err != nil {
		panic(err) // what is embedded can be read
	}
	return files
}

// packages are what a Raspberry Pi OS Lite image has and this project's scripts
// may count on, beside the essential and required ones.
func (from Debian) packages() []string {
	packages := []string{
		// the system
		"apt", "systemd-sysv", "dbus", "udev", "kmod", "libpam-systemd", "sudo", "locales", "tzdata", "less", "nano",
		"e2fsprogs", "fdisk", "dosfstools", "ca-certificates", "curl", "openssl", "xz-utils", "zstd", "psmisc", "procps",
		"python3-minimal", "libpython3-stdlib", "console-setup",
		// the network
		"network-manager", "openssh-server", "iproute2", "iputils-ping", "netbase",
		"wpasupplicant", "rfkill", "iw", "wireless-regdb",
		// first-boot customisation
		"cloud-init",
		// kernel and firmware of the Raspberry Pi
		"initramfs-tools", "linux-image-arm64", "raspi-firmware", "firmware-brcm80211",
	}
	if from.Like == LikeRaspiOS {
		packages = append(packages,
			"avahi-daemon", "libnss-mdns", "bluez", "netplan.io", "udisks2", "systemd-timesyncd", "systemd-zram-generator",
			// what the initramfs grows the root partition with
			"parted", "busybox",
			// the kernel of the Raspberry Pi 5
			"linux-image-arm64-16k",
		)
	}
	return packages
}

// filesOnly are those of the packages that are not installed: a package of
// Raspberry Pi OS has their name and some of their files.
func (from Debian) filesOnly() []string {
	if from.Like == LikeRaspiOS {
		return []string{"raspi-firmware"}
	}
	return nil
}

// clusterSectors is the size of a cluster of the boot partition, 0 for what
// mkfs.vfat chooses.
func (from Debian) clusterSectors() int {
	if from.Like == LikeRaspiOS {
		return 1
	}
	return 0
}
