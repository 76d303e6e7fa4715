package assist

// tool is a package whose programs are lent, and why they are worth it.
// Whatever is not listed runs emulated.
type tool struct {
	pkg   string
	only  []string // files, where not all programs of the package are lent
	extra []string // directories of files the programs cannot do without
	needs []string // packages that bring such files
}

// tools is what provisioning spends its time in, by sampling emulated builds.
// Left out on purpose are:
//   - dpkg itself, which has its architecture compiled in. Only its helpers,
//     which do not care, are lent.
//   - ldconfig, which would leave the libraries of the other architecture out
//     of the cache it writes.
//   - kmod and whatever else mkinitramfs copies into an initramfs: Verify would
//     find it there, and the step would run again emulated.
func tools() []tool {
	return []tool{
		// maintainer scripts are shell, and their every line starts one of these
		{pkg: "dash"}, {pkg: "bash"}, {pkg: "coreutils"}, {pkg: "sed"}, {pkg: "grep"},
		{pkg: "findutils"}, {pkg: "diffutils"}, {pkg: "mawk"}, {pkg: "debianutils"},
		// debconf, adduser and deb-systemd-helper are perl. perl-base is enough
		// for them and looks nowhere for compiled modules of the device's.
		{pkg: "perl-base"},
		// unpacking, and packing the initramfs
		{pkg: "tar"}, {pkg: "gzip"}, {pkg: "xz-utils"}, {pkg: "zstd"}, {pkg: "cpio"}, {pkg: "bzip2"},
		{pkg: "dpkg", only: []string{
			"usr/bin/dpkg-deb", "usr/bin/dpkg-split", "usr/bin/dpkg-query", "usr/bin/dpkg-divert",
			"usr/bin/dpkg-trigger", "usr/bin/dpkg-statoverride", "usr/bin/update-alternatives",
		}},
		// resolving, fetching and verifying packages
		{pkg: "apt", extra: []string{"usr/lib/apt"}}, {pkg: "sqv"}, {pkg: "gpgv"},
		{pkg: "openssl"}, // hashes every certificate
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

// aptConf makes the lent apt manage the packages of the device.
const aptConf = `APT::Architecture "arm64"; APT::Architectures { "arm64"; };
`

const aptConfPath = "etc/apt/apt.conf.d/00native-assist"
