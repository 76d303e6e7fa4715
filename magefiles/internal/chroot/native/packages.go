package native

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
)

var binaryRebuild = regexp.MustCompile(`\+b\d+$`)

// sameVersion compares package versions. A rebuild for one architecture alone,
// which Debian marks by +bN, has the same source.
func sameVersion(a, b string) bool {
	return binaryRebuild.ReplaceAllString(a, "") == binaryRebuild.ReplaceAllString(b, "")
}

// fits reports whether the native program, of version own, does what that of the
// root file system does. Within a release Debian changes a package by patches for
// single faults; of a few it takes upstream's maintenance releases, which differ
// from each other no more than that.
func (t tool) fits(version, own string) bool {
	if sameVersion(version, own) {
		return true
	}
	a, b := strings.Split(upstream(version), "."), strings.Split(upstream(own), ".")
	if t.series > 0 {
		a, b = a[:min(t.series, len(a))], b[:min(t.series, len(b))]
	}
	return slices.Equal(a, b)
}

var stableUpdate = regexp.MustCompile(`[+~](deb\d|b\d|rpt\d).*$`)

// upstream returns the upstream version in that of a package (Debian Policy
// 5.6.12), which may have no Debian revision.
func upstream(version string) string {
	if _, rest, ok := strings.Cut(version, ":"); ok {
		version = rest
	}
	if i := strings.LastIndex(version, "-"); i >= 0 {
		return version[:i]
	}
	return stableUpdate.ReplaceAllString(version, "")
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
