package hosts

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRenamed(t *testing.T) {
	const control = `Package: docker.io
Source: docker.io (26.1.5+dfsg1-9)
Version: 26.1.5+dfsg1-9+b9
Architecture: arm64
Depends: adduser, containerd (>= 1.4~), docker-cli (= 26.1.5), libc6 (>= 2.34)
Conflicts: docker-ce,
 docker
Description: Linux container runtime
 Docker complements kernel namespacing.
`
	const want = `Package: docker-ce
Version: 5:29.0.0-1~debian.13
Architecture: arm64
Depends: adduser, containerd.io, docker-ce-cli, libc6 (>= 2.34)
Description: Linux container runtime
 Docker complements kernel namespacing.
`
	if diff := cmp.Diff(want, renamed(control, "docker-ce")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
