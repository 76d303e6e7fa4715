//go:build mage

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cubeos-app/releases/magefiles/internal/sys/host"
)

// elevate runs this very command again through sudo if it is not root's
// already, and reports that it has. Making file systems with foreign owners
// needs root. HOME is root's own in there, so that no cache of the user's gets
// files of root.
func elevate(ctx context.Context) (done bool, err error) {
	if os.Geteuid() == 0 {
		return false, nil
	}
	if _, err := exec.LookPath("sudo"); err != nil {
		return true, host.RequireRoot()
	}
	self, err := os.Executable()
	if err != nil {
		return true, fmt.Errorf("finding this program to run it with sudo: %w", err)
	}
	fmt.Fprintf(os.Stderr, "%s needs root: asking sudo\n", strings.Join(os.Args[1:], " "))
	argv := []string{"sudo", "-E", "env", "HOME=/root", "PATH=" + host.PathWithSbin(os.Getenv("PATH"))}
	if home, err := os.UserHomeDir(); err == nil && os.Getenv("DOCKER_CONFIG") == "" {
		// The Docker daemon and the credentials are those the user has chosen.
		argv = append(argv, "DOCKER_CONFIG="+filepath.Join(home, ".docker"))
	}
	argv = append(append(argv, self), os.Args[1:]...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// sudo passes SIGTERM on to what it runs.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return true, cmd.Run()
}
