package device

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// TestBaseSetupRefuses wants every bad value to be named at once, before any work.
func TestBaseSetupRefuses(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := process.Cmd{
		Argv: []string{"bash", filepath.Join(repo, "packer/scripts/01-base-setup.sh")},
		Env: []string{
			"PATH=/nonexistent", "CUBEOS_HOSTNAME=Cube OS", "CUBEOS_USER=root", "CUBEOS_LOCALE=de",
			"CUBEOS_TIMEZONE=../shadow", "CUBEOS_UNATTENDED_UPGRADES=maybe",
		},
		Stdout: &out, Stderr: &out,
	}.Run(t.Context())
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("got %v, want exit status 2", err)
	}
	for _, name := range []string{"HOSTNAME", "USER", "LOCALE", "TIMEZONE", "UNATTENDED_UPGRADES"} {
		if !strings.Contains(out.String(), "CUBEOS_"+name+"=") {
			t.Errorf("it does not name CUBEOS_%s:\n%s", name, out.String())
		}
	}
}
