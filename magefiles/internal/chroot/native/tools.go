package native

// tool is a package whose programs are replaced by native ones. Whatever is not
// listed runs emulated.
type tool struct {
	pkg    string
	only   []string // the programs, where not all of the package are replaced; a link becomes a program of its own
	except []string // programs that are not replaced
	extra  []string // directories of files the programs load
	needs  []string // packages that bring such files
	arch   bool     // has the name of its architecture compiled in, to be replaced
	series int      // how many parts of the upstream version tell what it does; 0 is all
}

// tools is what provisioning spends its time in, by sampling emulated builds.
// Left out on purpose are:
//   - ldconfig, which would leave the libraries of the other architecture out
//     of the cache it writes.
//   - bash, uname and arch, which tell scripts the machine's architecture. Perl
//     and python tell it to those that ask, too, but what such a script then
//     fetches for the wrong machine, Verify finds.
//   - kmod, udevadm and whatever else mkinitramfs copies into an initramfs:
//     Verify would find it there, and the step would run again emulated.
func tools() []tool {
	return []tool{
		// maintainer scripts are shell, and their every line starts one of these
		{pkg: "dash"},
		{pkg: "coreutils", except: []string{"usr/bin/uname", "usr/bin/arch"}},
		{pkg: "sed"}, {pkg: "grep"},
		{pkg: "findutils"}, {pkg: "diffutils"}, {pkg: "mawk"}, {pkg: "debianutils"},
		// debconf, adduser and deb-systemd-helper are perl. perl-base is enough
		// for them and looks nowhere for compiled modules of the device's.
		{pkg: "perl-base", extra: []string{multi + "/perl-base"}},
		// unpacking, and packing the initramfs
		{pkg: "tar"}, {pkg: "gzip"}, {pkg: "xz-utils"}, {pkg: "zstd"}, {pkg: "cpio"}, {pkg: "bzip2"},
		// hashes every file it unpacks, and rewrites its status at every package
		{pkg: "dpkg", arch: true, series: 2},
		// resolving, fetching and verifying packages
		{pkg: "apt", extra: []string{"usr/lib/apt"}, series: 2}, {pkg: "sqv"}, {pkg: "gpgv"},
		// what maintainer scripts call most: accounts, units, one large database
		{pkg: "passwd"},
		{
			pkg: "systemd", only: []string{
				"usr/bin/systemctl", "usr/bin/systemd-sysusers", "usr/bin/systemd-tmpfiles", "usr/bin/journalctl",
			},
			extra:  []string{multi + "/systemd"},
			series: 1,
		},
		{pkg: "udev", only: []string{"usr/bin/systemd-hwdb"}, series: 1},
		// reads and sorts out every kernel module; the rest of kmod goes into the
		// initramfs
		{pkg: "kmod", only: []string{"usr/sbin/depmod"}},
		{pkg: "dracut-install", only: []string{"usr/lib/dracut/dracut-install"}},
		{pkg: "openssl", series: 2}, // hashes every certificate
		{pkg: "libc-bin", only: []string{"usr/bin/localedef"}},
		{pkg: "openssh-client", only: []string{"usr/bin/ssh-keygen"}},
		// byte-compiles every module a package brings; the byte code is the same
		{
			pkg:   "python3.13-minimal",
			extra: []string{"usr/lib/python3.13/lib-dynload"},
			needs: []string{"libpython3.13-stdlib"},
		},
	}
}

// aptConf makes the native apt manage the packages of the device. Of which other
// architectures the device takes packages, apt asks dpkg.
const aptConf = `APT::Architecture "arm64";
`

const aptConfPath = "etc/apt/apt.conf.d/00native-assist"
