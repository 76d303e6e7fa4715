package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Install installs the packages that r names with one apt-get install, as root
// or through sudo, which asks for the password at most once. On a machine
// without apt it returns an error that names the missing tools.
func Install(ctx context.Context, r Report, out *progress.Reporter) error {
	packages := r.Packages()
	if len(packages) == 0 {
		return nil
	}
	if _, err := lookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine has no apt-get; install what is missing by its own means:\n%s", r)
	}
	asRoot, err := becomeRoot(ctx)
	if err != nil {
		return err
	}
	out.Printf("installing %s", strings.Join(packages, ", "))
	updated := run(ctx, out, "updating the package lists", aptArgv(asRoot, "update"))
	if ctx.Err() != nil {
		return updated
	}
	// A source that fails may have nothing to do with what is needed here: the
	// installation decides.
	if updated != nil {
		out.Printf("warning: not all package lists could be updated: %s", reason(updated))
	}
	argv := aptArgv(asRoot, append([]string{"install", "--yes", "--no-install-recommends", "--"}, packages...)...)
	if err := run(ctx, out, "installing packages", argv); err != nil {
		err = fmt.Errorf("installing the missing packages: %w%s", err, universeHint(r.Distribution, err))
		return errors.Join(err, updated)
	}
	return nil
}

// EnsureInstalled checks what n asks for, installs the missing packages, and
// checks again. It returns an error if something is missing still.
func EnsureInstalled(ctx context.Context, n Needs, out *progress.Reporter) error {
	r, err := Check(ctx, n)
	if err != nil || r.OK() {
		return err
	}
	if err := Install(ctx, r, out); err != nil {
		return err
	}
	if r, err = Check(ctx, n); err != nil {
		return err
	}
	return r.Err()
}

// aptArgv builds an apt-get command that asks nothing and waits for another
// apt-get, such as the unattended upgrades of a fresh machine.
func aptArgv(asRoot []string, args ...string) []string {
	return slices.Concat(asRoot,
		[]string{"env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "apt-get", "-o", "DPkg::Lock::Timeout=300"}, args)
}

// becomeRoot returns the words that put before a command make root run it.
func becomeRoot(ctx context.Context) ([]string, error) {
	if os.Geteuid() == 0 {
		return nil, nil
	}
	if _, err := lookPath("sudo"); err != nil {
		return nil, errors.New("installing packages takes root, and there is no sudo: run `go tool mage prereqs` as root (`su -`)")
	}
	if process.Run(ctx, "sudo", "-n", "true") == nil {
		return []string{"sudo", "-n", "--"}, nil
	}
	// The one process that does not run in a group of its own: in the
	// background it could not ask for the password on the terminal.
	ask := exec.CommandContext(ctx, "sudo", "-v", "-p", "password of %p, to install packages: ")
	ask.Stdin, ask.Stdout, ask.Stderr = os.Stdin, os.Stderr, os.Stderr
	if err := ask.Run(); err != nil {
		return nil, fmt.Errorf("becoming root through sudo: %w; run `go tool mage prereqs` as root instead", err)
	}
	return []string{"sudo", "-n", "--"}, nil
}

func run(ctx context.Context, out *progress.Reporter, label string, argv []string) error {
	task := out.Task(label, 0)
	defer task.End()
	return process.Cmd{Argv: argv, Stdout: noteWriter{task}}.Run(ctx)
}

// noteWriter shows the latest output of a command beside its task.
type noteWriter struct{ task *progress.Task }

func (w noteWriter) Write(p []byte) (int, error) {
	w.task.Note(string(p))
	return len(p), nil
}

func universeHint(distribution string, err error) string {
	if distribution == "ubuntu" && strings.Contains(err.Error(), "Unable to locate package") {
		return "\non Ubuntu most of these packages are in universe: `sudo add-apt-repository universe` turns it on"
	}
	return ""
}
