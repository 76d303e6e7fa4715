// Package debian fetches packages from a Debian mirror. apt verifies all of it
// against Debian's keys.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// Release is a suite of Debian for an architecture.
type Release struct {
	Suite  string
	Arch   string
	Mirror string // URL
}

// Extract puts the files of the essential and required packages and those of
// include, with all they depend on, into the draft's tree, and their archives
// into ArchivesDir. Nothing of them runs: that is for dpkg to configure.
func (r Release) Extract(ctx context.Context, include []string, d layer.Draft, archives *Archives, output io.Writer) error {
	kept, err := archives.Files()
	if err != nil {
		return err
	}
	at := filepath.Join(d.Scratch, "archives")
	if _, err := chroot.NewInjectedLayer(at, nil, kept); err != nil {
		return fmt.Errorf("laying out package archives: %w", err)
	}
	err = process.Cmd{
		Argv:   r.ExtractArgv(include, d.Tree),
		Env:    append(os.Environ(), "ARCHIVES="+at),
		Stderr: process.Tee(output),
	}.Run(ctx)
	if err := errors.Join(err, archives.Collect(d.Tree)); err != nil {
		return err
	}
	return dropUnused(d.Tree)
}

// dropUnused removes the archives that were offered and not extracted: those
// of other suites and architectures, and those that nothing depends on. Every
// package has documentation (Debian Policy 12.5).
func dropUnused(tree string) error {
	known, err := listed([]string{tree})
	if err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(tree, ArchivesDir, "*.deb"))
	if err != nil {
		return err
	}
	for _, path := range archives {
		sum, err := stage.FileDigest(path)
		if err != nil {
			return err
		}
		pkg, _, _ := strings.Cut(filepath.Base(path), "_")
		_, err = os.Lstat(filepath.Join(tree, "usr/share/doc", pkg))
		if err == nil && known[sum] {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// ExtractArgv is the command behind Extract.
//
// mmdebstrap mounts /proc and more into the tree; in a mount namespace of its
// own that is gone when it ends.
func (r Release) ExtractArgv(include []string, tree string) []string {
	return []string{
		"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		"mmdebstrap", "--mode=root", "--architectures=" + r.Arch, "--variant=extract", "--format=directory",
		"--components=main,non-free-firmware",
		"--aptopt=APT::Install-Recommends \"false\"",
		`--setup-hook=mkdir -p "$1/` + ArchivesDir + `" && find "$ARCHIVES" -name "*.deb" -exec ln -t "$1/` + ArchivesDir + `" {} +`,
		"--skip=cleanup/apt",
		"--include=?essential", "--include=?priority(required)", "--include=" + strings.Join(include, ","),
		r.Suite, tree, r.Mirror,
	}
}
