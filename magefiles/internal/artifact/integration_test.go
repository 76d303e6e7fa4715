//go:build integration

package artifact

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const inside = "CUBEOS_TEST_FULL_DISK"

// TestFinishOnAFullDisk runs itself again in mount and user namespaces of its
// own, where it may mount a disk that is too small.
func TestFinishOnAFullDisk(t *testing.T) {
	if dir := os.Getenv(inside); dir != "" {
		finishOnAFullDisk(t, dir)
		return
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ran on a full disk") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func finishOnAFullDisk(t *testing.T, dir string) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	o := options(t, sparseImage(t, 64*mib, Range{0, 32 * mib}))
	o.Dir = dir
	_, err := Finish(t.Context(), o)
	for _, want := range []string{o.Names.In(dir).XZ, "no space left on device", "up to 67.11MB"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if left := listing(t, dir); len(left) > 0 {
		t.Errorf("left %s", left)
	}
	fmt.Println("ran on a full disk")
}
