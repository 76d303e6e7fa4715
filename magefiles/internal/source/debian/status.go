package debian

import (
	"errors"
	"fmt"
	"strings"
)

// Installed reads the status file of dpkg and returns the versions of the
// installed packages by their names. A package of another architecture than
// native is called NAME:ARCHITECTURE, as dpkg itself calls it.
func Installed(status, native string) (map[string]string, error) {
	installed := map[string]string{}
	for paragraph := range strings.SplitSeq(status, "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(paragraph) {
			// What begins with a blank goes on with the field before.
			if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
				fields[key] = strings.TrimSpace(value)
			}
		}
		if !strings.HasSuffix(fields["Status"], " installed") {
			continue
		}
		name, version, architecture := fields["Package"], fields["Version"], fields["Architecture"]
		if name == "" || version == "" || architecture == "" {
			return nil, fmt.Errorf("package %q of version %q and architecture %q: want all three", name, version, architecture)
		}
		if architecture != native && architecture != "all" {
			name += ":" + architecture
		}
		installed[name] = version
	}
	if len(installed) == 0 {
		return nil, errors.New("no package is installed")
	}
	return installed, nil
}
