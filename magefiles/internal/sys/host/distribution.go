package host

import (
	"bufio"
	"io"
	"strings"
)

// distribution returns the ID in a file of the format of /etc/os-release, such
// as debian.
func distribution(osRelease io.Reader) (string, error) {
	lines := bufio.NewScanner(osRelease)
	for lines.Scan() {
		if id, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "ID="); ok {
			return strings.Trim(id, `"'`), nil
		}
	}
	return "", lines.Err()
}
