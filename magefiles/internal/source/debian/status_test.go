package debian

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const status = `Package: adduser
Status: install ok installed
Multi-Arch: foreign
Architecture: all
Version: 3.152
Conffiles:
 /etc/adduser.conf 73faf0736dbc7b4ee2e3e6ee40be3cb7
Description: add and remove users and groups
 Version: is no field here

Package: libc6
Status: hold ok installed
Architecture: arm64
Version: 2.41-12+deb13u1

Package: libc6
Status: install ok installed
Architecture: armhf
Version: 2.41-12+deb13u1

Package: removed
Status: deinstall ok config-files
Architecture: arm64
Version: 1

Package: half
Status: install ok half-configured
Architecture: arm64
Version: 1
`

func TestInstalled(t *testing.T) {
	got, err := Installed(status, "arm64")
	want := map[string]string{"adduser": "3.152", "libc6": "2.41-12+deb13u1", "libc6:armhf": "2.41-12+deb13u1"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, text := range map[string]string{
		"an empty one":      "",
		"one of no package": "debugfs: File not found by ext2_lookup",
		"no version":        strings.Replace(status, "Version: 3.152", "", 1),
	} {
		if got, err := Installed(text, "arm64"); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
