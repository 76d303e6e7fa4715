// Package host knows what the build machine must have: programs and the
// packages that bring them, kernel features, room on its disks, and the
// handler that lets it execute arm64 programs.
package host

// Group names a part of the work. A target asks only for the groups it needs.
type Group string

// The groups.
const (
	Build    Group = "build"    // making, compressing and describing an image
	Lab      Group = "lab"      // making the lab profile's base image
	Boot     Group = "boot"     // booting an image in the emulator
	Lint     Group = "lint"     // checking the sources
	Test     Group = "test"     // what only the tests use
	Bench    Group = "bench"    // what builds are measured against
	Contract Group = "contract" // comparing the real services with their stand-ins
	CI       Group = "ci"       // running GitLab's jobs on this machine
)

// AllGroups is every group there is.
func AllGroups() []Group { return []Group{Build, Lab, Boot, Lint, Test, Bench, Contract, CI} }

// Requirement is a program or a file that has to be there, and the package
// that brings it.
type Requirement struct {
	Tool    string   // the program's name, looked up in PATH and the sbin directories
	Files   []string // or: any one of these files
	Package string   // in Debian and Ubuntu
	For     string   // what it is used for
	Groups  []Group
}

// Name is what is missing when the requirement is not met.
func (r Requirement) Name() string {
	if r.Tool != "" {
		return r.Tool
	}
	return r.Files[0]
}

// Requirements is the one list of what a build machine needs. The names are
// those of Debian 12 and 13, where all of them were installed by this list, and
// as published of Ubuntu 24.04.
func Requirements() []Requirement {
	return []Requirement{
		{Tool: "git", Package: "git", For: "the version and commit of a build", Groups: []Group{Build, Lint, CI}},
		{Files: []string{"/etc/ssl/certs/ca-certificates.crt"}, Package: "ca-certificates", For: "downloads over HTTPS", Groups: []Group{Build, Lint, CI}},
		{Tool: "xz", Package: "xz-utils", For: "base images and the finished image", Groups: []Group{Build, Boot}},
		{Tool: "sfdisk", Package: "fdisk", For: "partition tables", Groups: []Group{Build, Boot}},
		{Tool: "mcopy", Package: "mtools", For: "the boot partition, without mounting it", Groups: []Group{Build, Boot}},
		{Tool: "mkfs.vfat", Package: "dosfstools", For: "making the boot partition", Groups: []Group{Build}},
		{Tool: "fsck.vfat", Package: "dosfstools", For: "checking the boot partition", Groups: []Group{Build, Test}},
		{Tool: "mke2fs", Package: "e2fsprogs", For: "making the root file system", Groups: []Group{Build}},
		{Tool: "debugfs", Package: "e2fsprogs", For: "reading the root file system", Groups: []Group{Build, Boot}},
		{Tool: "unshare", Package: "util-linux", For: "mounts that nobody else sees", Groups: []Group{Build, Lab, Contract}},
		{Tool: "mount", Package: "mount", For: "root file systems under construction", Groups: []Group{Build, Lab}},
		{Tool: "losetup", Package: "mount", For: "file systems inside an image", Groups: []Group{Build}},
		{Tool: "ps", Package: "procps", For: "finding what a killed run left behind", Groups: []Group{Build, Boot, Test}},
		// Debian 13 has it as a transitional package whose -static names are
		// links to qemu-user's programs, which are static themselves by now.
		{Tool: "qemu-aarch64-static", Package: "qemu-user-static", For: "running the image's own arm64 programs", Groups: []Group{Build, Lab}},
		{Tool: "mmdebstrap", Package: "mmdebstrap", For: "bootstrapping Debian", Groups: []Group{Build, Lab}},
		{Tool: "arch-test", Package: "arch-test", For: "mmdebstrap, to find out whether arm64 programs run", Groups: []Group{Build, Lab}},
		// Ubuntu's apt does not know Debian's keys. Of the keys that sign trixie,
		// the package in Ubuntu 24.04 holds bookworm's only, which is enough.
		{Files: []string{"/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"},
			Package: "debian-archive-keyring", For: "verifying Debian's packages", Groups: []Group{Build, Lab}},
		{Tool: "gpg", Package: "gpg", For: "mmdebstrap, to find out which keys are trusted", Groups: []Group{Build, Lab}},
		{Tool: "qemu-system-aarch64", Package: "qemu-system-arm", For: "booting the image", Groups: []Group{Boot}},
		// Only recommended by qemu-system-arm, yet a virtio network card does not start without it.
		{Files: []string{"/usr/lib/ipxe/qemu/efi-virtio.rom", "/usr/share/qemu/efi-virtio.rom"},
			Package: "ipxe-qemu", For: "the emulated network card", Groups: []Group{Boot}},
		{Tool: "qemu-img", Package: "qemu-utils", For: "the emulated disk", Groups: []Group{Boot}},
		{Tool: "qemu-io", Package: "qemu-utils", For: "writing to the emulated disk", Groups: []Group{Boot}},
		{Tool: "fdtput", Package: "device-tree-compiler", For: "the device tree of an emulated Raspberry Pi 3", Groups: []Group{Boot}},
		{Tool: "depmod", Package: "kmod", For: "the modules of a test kernel", Groups: []Group{Boot}},
		{Tool: "cpio", Package: "cpio", For: "the initramfs of a test kernel", Groups: []Group{Boot}},
		{Tool: "shellcheck", Package: "shellcheck", For: "checking the shell scripts", Groups: []Group{Lint}},
		{Tool: "rsync", Package: "rsync", For: "gitlab-ci-local, which copies with it", Groups: []Group{Test, CI}},
		{Tool: "resize2fs", Package: "e2fsprogs", For: "shrinking an image, to compare with", Groups: []Group{Bench}},
		{Tool: "zerofree", Package: "zerofree", For: "clearing what is free in an image, to compare with", Groups: []Group{Bench}},
		{Tool: "ssh-keygen", Package: "openssh-client", For: "testing how a device makes its host keys", Groups: []Group{Test}},
		{Tool: "curl", Package: "curl", For: "testing how a device talks to its services", Groups: []Group{Test}},
		{Tool: "jq", Package: "jq", For: "testing how a device talks to its services", Groups: []Group{Test, Contract}},
		{Tool: "gcc", Package: "gcc", For: "Go's race detector", Groups: []Group{Test}},
		// Only recommended by gcc.
		{Files: []string{"/usr/include/stdlib.h"}, Package: "libc6-dev", For: "Go's race detector", Groups: []Group{Test}},
		{Tool: "python3", Package: "python3", For: "making Pi-hole's database as a build does", Groups: []Group{Test, Contract}},
		{Tool: "systemd-analyze", Package: "systemd", For: "checking the device's units", Groups: []Group{Test}},
		// A user of -engine=packer may have Docker from anywhere, on any machine.
		{Tool: "dockerd", Package: "docker.io", For: "testing the Packer engine with a daemon of its own", Groups: []Group{Test}},
		{Tool: "bmaptool", Package: "bmap-tools", For: "proving that block maps are read as written", Groups: []Group{Test}},
	}
}
