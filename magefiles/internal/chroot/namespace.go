// Package chroot lets commands see the layers of a root file system merged, and
// change them.
//
// Every mount is made by the command that needs it, in a mount namespace of
// its own. When the command ends, in whatever way, the kernel takes its mounts
// down, so nothing has to be undone and nothing can be left behind.
package chroot

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed view.sh
var viewScript string

//go:embed chroot.sh
var chrootScript string

// BootDir is where the boot partition is mounted on the device.
const BootDir = "boot/firmware"

// View shows commands the merged layers, read-only.
type View struct {
	layers []string
	dir    string
}

// NewView returns a view of layers (topmost first) that keeps its mount points
// in dir, which is the caller's alone until Close.
func NewView(layers []string, dir string) (View, error) {
	v := View{layers, dir}
	for _, d := range []string{dir, v.RootDir(), v.BootDir()} {
		// They may be there from a build that was killed.
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return v, err
		}
	}
	return v, nil
}

// Close removes the mount points. Nothing is mounted on them: commands mount
// in namespaces of their own.
func (v View) Close() error {
	return errors.Join(removeEmpty(v.RootDir()), removeEmpty(v.BootDir()), removeEmpty(v.dir))
}

// removeEmpty removes a directory, but never what is in it.
func removeEmpty(dir string) error {
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
		return fmt.Errorf("removing the mount point %s: %w", dir, err)
	}
	return nil
}

// RootDir is where commands run by Argv see the root file system, with an
// empty directory in place of the boot partition.
func (v View) RootDir() string { return filepath.Join(v.dir, "root") }

// BootDir is where commands run by Argv see the files of the boot partition.
func (v View) BootDir() string { return filepath.Join(v.dir, "boot") }

// Argv returns the command that runs argv with the view in place.
func (v View) Argv(argv ...string) []string {
	return append([]string{
		"unshare", "--mount", "--propagation", "private", "--",
		"sh", "-euc", viewScript, "view",
		overlayOptions(v.layers, "", ""), v.RootDir(), v.BootDir(), BootDir,
	}, argv...)
}

// Chroot is a root file system that a command can change: what it writes goes
// to the upper directory, the layers below stay as they are.
type Chroot struct {
	Layers   []string // directories, topmost first
	Upper    string   // receives the changes
	Work     string   // empty, on the same file system as Upper
	Dir      string   // an existing directory, for the mount point
	Env      []string // the whole environment of the command
	Binds    []Bind   // directories of the build machine, read-only
	Hostname string
}

// Argv returns the command that runs argv as root inside the chroot, with
// /proc, a read-only /sys, a minimal /dev and an empty /run. It has its own
// process, mount, host name and IPC namespaces and no capability to load
// modules, set the clock, mount or make devices; it ends when its caller does.
// This guards against accidents of a provisioner, not against one that means
// harm: it runs as root.
func (c Chroot) Argv(argv ...string) []string {
	cmd := []string{
		"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--",
		"sh", "-euc", chrootScript, "chroot",
		overlayOptions(c.Layers, c.Upper, c.Work), filepath.Join(c.Dir, "root"), c.Hostname,
	}
	for _, b := range c.Binds {
		cmd = append(cmd, b.From, b.To)
	}
	cmd = append(cmd, "--", "env", "-i")
	return append(append(cmd, c.Env...), argv...)
}

// overlayOptions returns the options of an overlay mount, or, for a single
// layer without an upper directory, which overlayfs refuses, the layer alone.
//
// Features that record more than plain files in the upper directory are off,
// so that a layer means the same on every kernel. "volatile" leaves out the
// syncs that dpkg asks for at every file: a layer counts only once it was
// finished and synced as a whole.
func overlayOptions(layers []string, upper, work string) string {
	if upper == "" && len(layers) == 1 {
		return layers[0]
	}
	opts := "lowerdir=" + strings.Join(layers, ":") + ",redirect_dir=off,metacopy=off,index=off,xino=off"
	if upper != "" {
		opts += ",upperdir=" + upper + ",workdir=" + work + ",volatile"
	}
	return opts
}
