// Package native gives a chroot of another architecture the build machine's own
// programs: one of the same version, or of another update of the same release, does
// the same, only many times faster than under emulation.
//
// They are injected over the root file system for one command and are gone after
// it; programs that the command installs or replaces hide them.
package native

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Supported reports whether this machine's programs can be used at all. On arm64
// there is nothing to gain, and other architectures were not tried.
func Supported() bool { return runtime.GOARCH == "amd64" }

// Overlay is a tree of native programs. They find their dynamic loader and
// libraries in a directory of their own: what looks for libraries in the usual
// places, as mkinitramfs does, must not find those of the build machine.
type Overlay struct {
	tree     string
	packages map[string]contents // of those in tools
	log      *progress.Reporter
	told     map[string]bool // what is not said again at every step
}

// contents is what the overlay has of a package.
type contents struct {
	Version  string
	Programs map[string]string // path in the root file system → target, if it is a link there
	Extra    []string          // files that no package of the root file system has
}

// Files implements chroot.NativeOverlay: the programs of those packages in tools
// that do what those of the root file system do, and what they all need.
func (o *Overlay) Files(layers []string) ([]chroot.InjectedFile, error) {
	have, err := present(layers)
	if err != nil {
		return nil, err
	}
	var files []chroot.InjectedFile
	var emulated, updated []string
	for _, t := range tools() {
		version, ok := have[t.pkg]
		if !ok {
			continue
		}
		own := o.packages[t.pkg].Version
		if !t.fits(version, own) {
			emulated = append(emulated, fmt.Sprintf("%s (%s, native %s)", t.pkg, version, own))
			continue
		}
		if !sameVersion(version, own) {
			updated = append(updated, fmt.Sprintf("%s (%s, native %s)", t.pkg, version, own))
		}
		files = append(files, o.filesOf(t, layers)...)
	}
	o.tell("warning: these run emulated, since the root file system has another version", emulated)
	o.tell("these are native and of another update of the same version", updated)
	if len(files) == 0 {
		return nil, nil
	}
	libraries, err := o.libraries()
	return append(files, libraries...), err
}

// tell logs once what is to be said of packages.
func (o *Overlay) tell(what string, packages []string) {
	line := what + ": " + strings.Join(packages, ", ")
	if len(packages) > 0 && !o.told[line] {
		o.told[line] = true
		o.log.Printf("%s", line)
	}
}

// Matches reports whether the overlay has all its programs in the very versions
// that the root file system has.
func (o *Overlay) Matches(layers []string) (bool, error) {
	have, err := present(layers)
	for _, t := range tools() {
		if version, ok := have[t.pkg]; ok && !sameVersion(version, o.packages[t.pkg].Version) {
			return false, err
		}
	}
	return true, err
}

func (o *Overlay) filesOf(t tool, layers []string) []chroot.InjectedFile {
	var paths []string
	for path, target := range o.packages[t.pkg].Programs {
		if isReplaceable(layers, path, target) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var files []chroot.InjectedFile
	for _, path := range append(paths, o.packages[t.pkg].Extra...) {
		files = append(files, chroot.InjectedFile{Path: path, From: filepath.Join(o.tree, path)})
	}
	if t.pkg == "apt" {
		files = append(files, chroot.InjectedFile{Path: aptConfPath, Mode: 0o644, Data: []byte(aptConf)})
	}
	return files
}

// libraries are the overlay's shared libraries and its dynamic loader.
func (o *Overlay) libraries() ([]chroot.InjectedFile, error) {
	var files []chroot.InjectedFile
	err := filepath.WalkDir(filepath.Join(o.tree, ownDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(o.tree, path)
		files = append(files, chroot.InjectedFile{Path: rel, From: path})
		return err
	})
	return files, err
}

// isReplaceable reports whether path in the merged layers is a regular file, or
// if target is given, a link to it.
func isReplaceable(layers []string, path, target string) bool {
	for _, layer := range layers {
		info, err := os.Lstat(filepath.Join(layer, path))
		if err != nil {
			continue
		}
		if target == "" {
			return info.Mode().IsRegular()
		}
		there, _ := os.Readlink(filepath.Join(layer, path))
		return there == target
	}
	return false
}
