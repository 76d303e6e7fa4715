package hosts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// dockerPackages are the packages of Docker's repository that an image installs, and
// Debian's that each is made of.
func dockerPackages() [][2]string {
	return [][2]string{
		{"docker-ce", "docker.io"}, {"docker-ce-cli", "docker-cli"},
		{"containerd.io", "containerd"}, {"docker-compose-plugin", "docker-compose"},
	}
}

const dockerVersion = "5:29.0.0-1~debian.13"

// DockerRepository makes an apt repository in dir, as Docker's is laid out for a suite
// of Debian: its signing key as dir/gpg. It returns the key's fingerprint. Its
// packages are Debian's by other names, since Debian's refuse to be beside them.
func DockerRepository(ctx context.Context, dir, suite, mirror string) (fingerprint string, err error) {
	pool := filepath.Join(dir, "dists", suite, "pool", "stable", "arm64")
	index := filepath.Join(dir, "dists", suite, "stable", "binary-arm64")
	if err := errors.Join(os.MkdirAll(pool, 0o755), os.MkdirAll(index, 0o755)); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp("", "cubeos-docker-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	var originals []string
	for _, p := range dockerPackages() {
		originals = append(originals, p[1])
	}
	if err := download(ctx, work, suite, mirror, originals); err != nil {
		return "", fmt.Errorf("fetching %s from %s: %w", strings.Join(originals, ", "), mirror, err)
	}
	var packages bytes.Buffer
	for _, p := range dockerPackages() {
		deb := filepath.Join(pool, p[0]+"_29.0.0_arm64.deb")
		control, err := rename(ctx, work, p[1], p[0], deb)
		if err != nil {
			return "", fmt.Errorf("making the package %s: %w", p[0], err)
		}
		raw, err := os.ReadFile(deb)
		if err != nil {
			return "", err
		}
		name, err := filepath.Rel(dir, deb)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&packages, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", control, name, len(raw), sha256.Sum256(raw))
	}
	if err := os.WriteFile(filepath.Join(index, "Packages"), packages.Bytes(), 0o644); err != nil {
		return "", err
	}
	release := fmt.Sprintf("Origin: Docker\nLabel: Docker CE\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: arm64\nComponents: stable\nSHA256:\n %x %d stable/binary-arm64/Packages\n",
		suite, suite, time.Now().UTC().Format(time.RFC1123), sha256.Sum256(packages.Bytes()), packages.Len())
	return sign(ctx, dir, filepath.Join(dir, "dists", suite), release)
}

// download brings packages of Debian for arm64, which apt verifies, into dir.
func download(ctx context.Context, dir, suite, mirror string, names []string) error {
	lists, status := filepath.Join(dir, "sources.list"), filepath.Join(dir, "status")
	keyring := "/usr/share/keyrings/debian-archive-keyring.gpg"
	if _, err := os.Stat(keyring); err != nil {
		keyring = strings.TrimSuffix(keyring, ".gpg") + ".pgp"
	}
	source := fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, mirror, suite)
	err := errors.Join(os.WriteFile(lists, []byte(source), 0o644), os.WriteFile(status, nil, 0o644))
	for _, sub := range []string{"state/lists/partial", "cache/archives/partial"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	if err != nil {
		return err
	}
	apt := []string{
		"apt-get", "--quiet",
		"-o", "Dir::Etc::sourcelist=" + lists, "-o", "Dir::Etc::sourceparts=-",
		"-o", "Dir::State=" + filepath.Join(dir, "state"), "-o", "Dir::State::status=" + status, "-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		"-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64", "-o", "APT::Sandbox::User=root",
	}
	for _, command := range [][]string{{"update"}, append([]string{"download"}, names...)} {
		if err := (process.Cmd{Argv: slices.Concat(apt, command), Dir: dir}).Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rename makes a package of another one in dir, with its files and scripts, and
// returns what it says of itself.
func rename(ctx context.Context, dir, from, to, deb string) (control string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, from+"_*.deb"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("found %d archives of %s, want one", len(found), from)
	}
	if err != nil {
		return "", err
	}
	tree := filepath.Join(dir, to)
	if err := process.Run(ctx, "dpkg-deb", "--raw-extract", found[0], tree); err != nil {
		return "", err
	}
	path := filepath.Join(tree, "DEBIAN", "control")
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	control = renamed(string(raw), to)
	return control, errors.Join(
		os.WriteFile(path, []byte(control), 0o644),
		process.Run(ctx, "dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, deb),
	)
}

// renamed gives a package another name and Docker's version, has it depend on
// Docker's packages, and no longer refuse them.
func renamed(control, to string) string {
	var b strings.Builder
	skipping := false
	for line := range strings.Lines(control) {
		field, value, _ := strings.Cut(line, ":")
		if continues := strings.HasPrefix(line, " "); continues && skipping {
			continue
		}
		skipping = slices.Contains([]string{"Conflicts", "Breaks", "Replaces", "Provides", "Recommends", "Suggests", "Source"}, field)
		switch {
		case skipping:
		case field == "Package":
			fmt.Fprintf(&b, "Package: %s\n", to)
		case field == "Version":
			fmt.Fprintf(&b, "Version: %s\n", dockerVersion)
		case field == "Depends" || field == "Pre-Depends":
			fmt.Fprintf(&b, "%s:%s", field, depends(value))
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

// depends replaces Debian's names in a list of dependencies, whatever version is
// asked for.
func depends(list string) string {
	var all []string
	for one := range strings.SplitSeq(strings.TrimSuffix(list, "\n"), ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(one), " ")
		for _, p := range dockerPackages() {
			if name == p[1] {
				one = " " + p[0]
			}
		}
		all = append(all, one)
	}
	return strings.Join(all, ",") + "\n"
}

// sign writes InRelease, signed by a new key, and the key.
func sign(ctx context.Context, dir, dist, release string) (fingerprint string, err error) {
	home, err := os.MkdirTemp("", "gnupg-") // its path has to be short: it is that of a socket
	if err != nil {
		return "", err
	}
	defer func() {
		stopped := process.Cmd{Argv: []string{"gpgconf", "--homedir", home, "--kill", "all"}}.Run(context.WithoutCancel(ctx))
		err = errors.Join(err, stopped, os.RemoveAll(home))
	}()
	gpg := func(input string, arguments ...string) (string, error) {
		var out bytes.Buffer
		argv := append([]string{"gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""}, arguments...)
		err := process.Cmd{Argv: argv, Stdin: strings.NewReader(input), Stdout: &out}.Run(ctx)
		return out.String(), err
	}
	const who = "rehearsal@localhost.invalid"
	if _, err := gpg("", "--quick-generate-key", who, "rsa3072", "sign", "7d"); err != nil {
		return "", fmt.Errorf("making a key for the repository: %w", err)
	}
	signed, err := gpg(release, "--clearsign", "--local-user", who)
	if err != nil {
		return "", fmt.Errorf("signing the repository: %w", err)
	}
	key, err := gpg("", "--armor", "--export", who)
	if err != nil {
		return "", err
	}
	listed, err := gpg("", "--with-colons", "--list-keys", who)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(listed) {
		if f := strings.Split(line, ":"); f[0] == "fpr" && len(f) > 9 {
			fingerprint = f[9]
			break
		}
	}
	return fingerprint, errors.Join(
		os.WriteFile(filepath.Join(dist, "InRelease"), []byte(signed), 0o644),
		os.WriteFile(filepath.Join(dir, "gpg"), []byte(key), 0o644),
	)
}
