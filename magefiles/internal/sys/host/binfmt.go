package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const (
	binfmtDir = "/proc/sys/fs/binfmt_misc"
	handler   = "qemu-aarch64"
	onTheHost = "this container may not change how its host runs programs: run `go tool mage binfmt` on the host, or start the container with --privileged"
)

// SetUpARM64 makes this machine execute arm64 programs, also in a chroot that
// does not hold the emulator, and proves it. A handler that does this already
// is left alone. The binfmt_misc file system it may have to mount is the one
// thing this project mounts for good: the handlers belong to the machine.
func SetUpARM64(ctx context.Context, out *progress.Reporter) error {
	if runtime.GOARCH == "arm64" {
		out.Printf("this machine runs arm64 programs natively: nothing to do")
		return nil
	}
	if err := RequireRoot(); err != nil {
		return err
	}
	if err := mountBinfmt(ctx, out); err != nil {
		return err
	}
	return setUpHandler(ctx, out, binfmtDir, "/", proveARM64)
}

func setUpHandler(ctx context.Context, out *progress.Reporter, dir, root string, prove func(context.Context) error) error {
	if err := enableBinfmt(dir, out); err != nil {
		return err
	}
	entries, err := readEntries(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.matches(helloARM64()) {
			continue
		}
		why := e.fault()
		if why == "" {
			if err := prove(ctx); err != nil {
				why = "it does not work: " + err.Error()
			}
		}
		if why == "" {
			out.Printf("arm64 programs run by %s (flags %s): nothing to do", e.Interpreter, e.Flags)
			warnOldEmulator(ctx, e.Interpreter, out)
			return nil
		}
		out.Printf("replacing the handler %s (%s): %s", e.Name, e.Interpreter, why)
		if err := writeControl(filepath.Join(dir, e.Name), "-1"); err != nil {
			return fmt.Errorf("removing the handler %s: %w", e.Name, err)
		}
	}
	emu, err := findEmulator(root)
	if err != nil {
		return err
	}
	if err := writeControl(filepath.Join(dir, "register"), rule(emu)); err != nil {
		return fmt.Errorf("registering %s for arm64 programs: %w", emu.path, err)
	}
	if err := prove(ctx); err != nil {
		return err
	}
	out.Printf("arm64 programs run by %s from now until the machine restarts", emu.path)
	warnOldEmulator(ctx, emu.path, out)
	return nil
}

// mountBinfmt mounts the handlers' file system unless it is there.
func mountBinfmt(ctx context.Context, out *progress.Reporter) error {
	status := filepath.Join(binfmtDir, "status")
	if _, err := os.Stat(status); err == nil { // also triggers systemd's automount
		return nil
	}
	if _, err := os.Stat(binfmtDir); errors.Is(err, fs.ErrNotExist) {
		if err := process.Run(ctx, "modprobe", "binfmt_misc"); err != nil {
			return fmt.Errorf("the kernel has no binfmt_misc (%s): load the module binfmt_misc on the machine itself, or use a kernel that has it", reason(err))
		}
	}
	err := unix.Mount("binfmt_misc", binfmtDir, "binfmt_misc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EROFS):
		return fmt.Errorf("mounting binfmt_misc on %s: %w; %s", binfmtDir, err, onTheHost)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("mounting binfmt_misc on %s: %w: this kernel is built without it", binfmtDir, err)
	case err != nil && !errors.Is(err, unix.EBUSY):
		return fmt.Errorf("mounting binfmt_misc on %s: %w", binfmtDir, err)
	}
	out.Printf("mounted binfmt_misc on %s", binfmtDir)
	return nil
}

func enableBinfmt(dir string, out *progress.Reporter) error {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return fmt.Errorf("reading the state of binfmt_misc: %w", err)
	}
	if strings.TrimSpace(string(status)) != "disabled" {
		return nil
	}
	out.Printf("binfmt_misc was switched off: switching it on")
	if err := writeControl(filepath.Join(dir, "status"), "1"); err != nil {
		return fmt.Errorf("switching on binfmt_misc: %w", err)
	}
	return nil
}

// writeControl writes a control file, which must not be created or truncated.
func writeControl(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w; %s", err, onTheHost)
	}
	return err
}
