//go:build mage && integration

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The tests are a program that begins like the targets'.
func TestTargetsIgnoreTheCaller(t *testing.T) {
	const again = "CUBEOS_TEST_AGAIN"
	if os.Getenv(again) != "" {
		umask := unix.Umask(0o022)
		if umask != 0o022 || os.Getenv("LC_ALL") != "C.UTF-8" || os.Getenv("LANGUAGE") != "" {
			t.Errorf("umask %03o, LC_ALL=%s, LANGUAGE=%s", umask, os.Getenv("LC_ALL"), os.Getenv("LANGUAGE"))
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask 077; exec "$@"`, "sh", self, "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), again+"=1", "LC_ALL=tr_TR.UTF-8", "LANGUAGE=tr")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
