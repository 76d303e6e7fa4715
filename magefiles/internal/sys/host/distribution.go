package host

import (
	"bufio"
	"io"
	"strings"
)

// Distribution is what os-release says about the machine.
type Distribution struct {
	ID        string   // debian, ubuntu, fedora
	VersionID string   // 12, 24.04
	Like      []string // the distributions it derives from
	Name      string   // for people
}

// ParseOSRelease reads the format of /etc/os-release.
func ParseOSRelease(r io.Reader) (Distribution, error) {
	var d Distribution
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok {
			continue
		}
		value = strings.Trim(value, `"'`)
		switch key {
		case "ID":
			d.ID = value
		case "VERSION_ID":
			d.VersionID = value
		case "ID_LIKE":
			d.Like = strings.Fields(value)
		case "PRETTY_NAME":
			d.Name = value
		}
	}
	return d, lines.Err()
}
