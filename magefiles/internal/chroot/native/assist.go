// Package native lends a chroot of another architecture the build machine's
// own programs: one of the same version does the same, only many times faster
// than its emulated twin.
//
// What is lent is laid over the root file system for one command and is gone
// after it; programs that the command installs or replaces hide the lent ones.
package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
)

// Supported reports whether this machine's programs can be lent at all. On
// arm64 there is nothing to gain, and other architectures were not tried.
func Supported() bool { return runtime.GOARCH == "amd64" }

// Lend returns the files to lay over layers (topmost first): for each program
// in tools that the root file system has in the same version, the kit's, and
// what they all need.
func (k *Kit) Lend(layers []string) ([]chroot.AidFile, error) {
	have, err := present(layers)
	if err != nil {
		return nil, err
	}
	var files []chroot.AidFile
	for _, t := range tools() {
		if version, ok := have[t.pkg]; ok && same(version, k.packages[t.pkg].Version) {
			files = append(files, k.lend(t, layers)...)
		}
	}
	if other := strings.Join(k.otherVersions(have), ", "); other != "" && other != k.told {
		k.told = other
		k.log.Printf("warning: these run emulated, since the root file system has another version: %s", other)
	}
	if len(files) == 0 {
		return nil, nil
	}
	libraries, err := k.libraries()
	return append(files, libraries...), err
}

// Suits reports whether the kit has its programs in the versions that the root
// file system has.
func (k *Kit) Suits(layers []string) (bool, error) {
	have, err := present(layers)
	return len(k.otherVersions(have)) == 0, err
}

// otherVersions describes the packages of which the kit has another version.
func (k *Kit) otherVersions(have map[string]string) []string {
	var other []string
	for _, t := range tools() {
		if version, own := have[t.pkg], k.packages[t.pkg].Version; version != "" && !same(version, own) {
			other = append(other, fmt.Sprintf("%s (%s, to lend %s)", t.pkg, version, own))
		}
	}
	return other
}

func (k *Kit) lend(t tool, layers []string) []chroot.AidFile {
	var paths []string
	for path, target := range k.packages[t.pkg].Programs {
		if twin(layers, path, target) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var files []chroot.AidFile
	for _, path := range append(paths, k.packages[t.pkg].Extra...) {
		files = append(files, chroot.AidFile{Path: path, From: filepath.Join(k.tree, path)})
	}
	if t.pkg == "apt" {
		files = append(files, chroot.AidFile{Path: aptConfPath, Mode: 0o644, Data: []byte(aptConf)})
	}
	return files
}

// libraries are the kit's shared libraries and its dynamic loader.
func (k *Kit) libraries() ([]chroot.AidFile, error) {
	var files []chroot.AidFile
	err := filepath.WalkDir(filepath.Join(k.tree, ownDir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(k.tree, path)
		files = append(files, chroot.AidFile{Path: rel, From: path})
		return err
	})
	return files, err
}

// twin reports whether path in the merged layers is a regular file, or if
// target is given, a link to it.
func twin(layers []string, path, target string) bool {
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

var binaryRebuild = regexp.MustCompile(`\+b\d+$`)

// same compares package versions. A rebuild for one architecture alone, which
// Debian marks by +bN, has the same source.
func same(a, b string) bool {
	return binaryRebuild.ReplaceAllString(a, "") == binaryRebuild.ReplaceAllString(b, "")
}

// present reads the versions of the packages whose files are in the layers,
// configured or not.
func present(layers []string) (map[string]string, error) {
	const status = "var/lib/dpkg/status"
	i := slices.IndexFunc(layers, func(l string) bool {
		_, err := os.Lstat(filepath.Join(l, status))
		return err == nil
	})
	if i < 0 {
		return nil, errors.New("no layer has /" + status)
	}
	raw, err := os.ReadFile(filepath.Join(layers[i], status))
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		return extracted(layers[i])
	}
	versions := map[string]string{}
	var pkg string
	there := false
	for line := range strings.Lines(string(raw)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch key {
		case "Package":
			pkg, there = value, false
		case "Status":
			state := value[strings.LastIndex(value, " ")+1:]
			there = slices.Contains([]string{"installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}, state)
		case "Version":
			if there {
				versions[pkg] = value
			}
		}
	}
	return versions, nil
}

// extracted reads the versions of packages that were extracted and that dpkg
// knows nothing of yet from the names of their archives.
func extracted(layer string) (map[string]string, error) {
	archives, err := filepath.Glob(filepath.Join(layer, debian.ArchivesDir, "*.deb"))
	versions := map[string]string{}
	for _, path := range archives {
		if name := strings.Split(filepath.Base(path), "_"); len(name) == 3 {
			// apt writes the colon of an epoch as %3a.
			versions[name[0]] = strings.ReplaceAll(name[1], "%3a", ":")
		}
	}
	return versions, err
}
