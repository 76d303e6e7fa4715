//go:build integration

package host

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/chroottest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const inside = "CUBEOS_TEST_INSIDE_NAMESPACE"

// inOwnBinfmt runs the calling test again in a user and mount namespace of its
// own, where binfmt_misc is another than the machine's (Linux 6.7 and later).
// It returns true in there, and there only.
func inOwnBinfmt(t *testing.T) bool {
	if os.Getenv(inside) != "" {
		if err := unix.Mount("binfmt_misc", binfmtDir, "binfmt_misc", 0, ""); err != nil {
			fmt.Println("NO-OWN-BINFMT", err)
			t.Skip(err)
		}
		return true
	}
	if _, err := findEmulator("/"); err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte("NO-OWN-BINFMT")) {
		t.Skipf("this kernel has no binfmt_misc of a user namespace's own: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS")) {
		t.Fatalf("nothing ran:\n%s", out)
	}
	return false
}

func setUp(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if err := SetUpARM64(t.Context(), progress.New(&out)); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if err := proveARM64(t.Context()); err != nil {
		t.Error(err)
	}
	return out.String()
}

func TestKernelRunsARM64(t *testing.T) {
	if !inOwnBinfmt(t) {
		return
	}
	if err := proveARM64(t.Context()); err == nil || !strings.Contains(err.Error(), "Exec format error") {
		t.Errorf("without a handler: %v", err)
	}
	if out := setUp(t); !strings.Contains(out, "until the machine restarts") {
		t.Errorf("first: %s", out)
	}
	if out := setUp(t); !strings.Contains(out, "nothing to do") {
		t.Errorf("second: %s", out)
	}
	entryFile := filepath.Join(binfmtDir, handler)
	if err := writeControl(entryFile, "0"); err != nil {
		t.Fatal(err)
	}
	if out := setUp(t); !strings.Contains(out, "it is disabled") {
		t.Errorf("disabled: %s", out)
	}
	if err := writeControl(filepath.Join(binfmtDir, "status"), "0"); err != nil {
		t.Fatal(err)
	}
	if out := setUp(t); !strings.Contains(out, "switching it on") {
		t.Errorf("all disabled: %s", out)
	}

	// A handler under another name that works outside of a chroot only.
	if err := writeControl(entryFile, "-1"); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(rule(emulator{"/usr/bin/qemu-aarch64-static", "O"}), handler, "other", 1)
	if err := writeControl(filepath.Join(binfmtDir, "register"), other); err != nil {
		t.Fatal(err)
	}
	if err := proveARM64(t.Context()); err == nil || !strings.Contains(err.Error(), "no F flag") {
		t.Errorf("without F: %v", err)
	}
	if out := setUp(t); !strings.Contains(out, "replacing the handler other") {
		t.Errorf("no F: %s", out)
	}

	// One whose emulator is a program that does something else.
	if err := writeControl(entryFile, "-1"); err != nil {
		t.Fatal(err)
	}
	if err := writeControl(filepath.Join(binfmtDir, "register"), rule(emulator{"/proc/self/exe", "OF"})); err != nil {
		t.Fatal(err)
	}
	if err := os.Unsetenv(inside); err != nil {
		t.Fatal(err)
	}
	if out := setUp(t); !strings.Contains(out, "it does not work") {
		t.Errorf("wrong emulator: %s", out)
	}
}

func TestReadOnlyBinfmt(t *testing.T) {
	if !inOwnBinfmt(t) {
		return
	}
	if err := unix.Mount("", binfmtDir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	err := SetUpARM64(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "on the host") {
		t.Errorf("got %v", err)
	}
}

func TestKernelProbes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Setenv("TMPDIR", t.TempDir())
	if problems := probeKernel(t.Context()); len(problems) != 0 {
		t.Errorf("got %+v", problems)
	}
	chroottest.MustNotBeMounted(t, os.Getenv("TMPDIR"))
	// Probes that must fail.
	for _, script := range []string{
		strings.Replace(overlayProbe, "-t overlay", "-t no-such-fs", 1),
		strings.Replace(loopProbe, "offset=1048576 i m", "offset=512 i m", 1),
	} {
		err := process.Run(t.Context(), probeArgv(script, t.TempDir())...)
		if err == nil || reason(err) == "" {
			t.Errorf("%s: %v", script, err)
		}
	}
}
