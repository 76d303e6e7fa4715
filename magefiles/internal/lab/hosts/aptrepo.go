package hosts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// dockerPackages are the packages of Docker's repository that an image installs, and
// Debian's that each stands for here.
func dockerPackages() [][2]string {
	return [][2]string{
		{"docker-ce", "docker.io"}, {"docker-ce-cli", "docker-cli"},
		{"containerd.io", "containerd"}, {"docker-compose-plugin", "docker-compose"},
	}
}

// DockerRepository makes an apt repository in dir, as Docker's is laid out for a suite
// of Debian: its signing key as dir/gpg. It returns the key's fingerprint. What is in
// its packages comes from Debian, by dependency.
func DockerRepository(ctx context.Context, dir, suite string) (fingerprint string, err error) {
	pool := filepath.Join(dir, "dists", suite, "pool", "stable", "arm64")
	index := filepath.Join(dir, "dists", suite, "stable", "binary-arm64")
	if err := errors.Join(os.MkdirAll(pool, 0o755), os.MkdirAll(index, 0o755)); err != nil {
		return "", err
	}
	var packages bytes.Buffer
	for _, p := range dockerPackages() {
		control := fmt.Sprintf("Package: %s\nVersion: 5:29.0.0-1~debian.13~%s\nArchitecture: arm64\nMaintainer: Rehearsal <rehearsal@localhost.invalid>\nDepends: %s\nSection: admin\nPriority: optional\nDescription: stands for Docker's own package\n",
			p[0], suite, p[1])
		deb := filepath.Join(pool, p[0]+"_29.0.0_arm64.deb")
		if err := buildPackage(ctx, control, deb); err != nil {
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
	release := fmt.Sprintf("Origin: Docker\nLabel: Docker CE\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: arm64\nComponents: stable\nSHA256:\n %x %d stable/binary-arm64/Packages\n",
		suite, suite, time.Now().UTC().Format(time.RFC1123), sha256.Sum256(packages.Bytes()), packages.Len())
	return sign(ctx, dir, filepath.Join(dir, "dists", suite), release, os.WriteFile(filepath.Join(index, "Packages"), packages.Bytes(), 0o644))
}

func buildPackage(ctx context.Context, control, deb string) (err error) {
	tree, err := os.MkdirTemp("", "cubeos-deb-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tree)) }()
	return errors.Join(
		os.Chmod(tree, 0o755),
		os.Mkdir(filepath.Join(tree, "DEBIAN"), 0o755),
		os.WriteFile(filepath.Join(tree, "DEBIAN", "control"), []byte(control), 0o644),
		process.Cmd{Argv: []string{"dpkg-deb", "--build", "--root-owner-group", tree, deb}}.Run(ctx),
	)
}

// sign writes InRelease, signed by a new key, and the key.
func sign(ctx context.Context, dir, dist, release string, before error) (fingerprint string, err error) {
	if before != nil {
		return "", before
	}
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
