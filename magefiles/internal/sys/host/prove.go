package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// proofStatus is what the program of helloARM64 exits with.
const proofStatus = 42

// helloARM64 is a static arm64 program that does nothing but exit: an ELF
// header, one program header, and three instructions.
func helloARM64() []byte {
	const (
		base   = 0x400000
		header = 64 + 56
	)
	code := []uint32{
		0xd2800000 | proofStatus<<5, // mov x0, #42
		0xd2800000 | 93<<5 | 8,      // mov x8, #93 (exit)
		0xd4000001,                  // svc #0
	}
	length := uint64(header + 4*len(code))
	b := []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	le := binary.LittleEndian
	b = le.AppendUint16(b, 2)           // executable
	b = le.AppendUint16(b, 183)         // AArch64
	b = le.AppendUint32(b, 1)           // version
	b = le.AppendUint64(b, base+header) // entry point
	b = le.AppendUint64(b, 64)          // program headers
	b = le.AppendUint64(b, 0)           // no sections
	b = le.AppendUint32(b, 0)           // flags
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v) // sizes and counts of the headers
	}
	b = le.AppendUint32(b, 1) // to be loaded
	b = le.AppendUint32(b, 5) // readable and executable
	for _, v := range []uint64{0, base, base, length, length, 0x10000} {
		b = le.AppendUint64(b, v) // offset, addresses, sizes, alignment
	}
	for _, v := range code {
		b = le.AppendUint32(b, v)
	}
	return b
}

// proveARM64 executes an arm64 program in a chroot that holds nothing else, as a
// build will. It needs root.
func proveARM64(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "cubeos-arm64-")
	if err != nil {
		return fmt.Errorf("trying an arm64 program: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.WriteFile(filepath.Join(dir, "hello"), helloARM64(), 0o755); err != nil {
		return fmt.Errorf("trying an arm64 program: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for try := 0; ; try++ {
		cmd := exec.CommandContext(ctx, "/hello")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
		out, err := cmd.CombinedOutput()
		// Another goroutine's child may still hold the file open for writing
		// until its own exec (golang/go#22315).
		if errors.Is(err, syscall.ETXTBSY) && try < 50 {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		return proofError(ctx, err, string(out))
	}
}

func proofError(ctx context.Context, err error, output string) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("trying an arm64 program: %w", ctx.Err())
	case errors.As(err, &exit) && exit.ExitCode() == proofStatus:
		return nil
	case errors.Is(err, syscall.ENOEXEC):
		return errors.New("arm64 programs do not run (Exec format error): no handler is registered for them")
	case errors.Is(err, syscall.ENOENT):
		return errors.New("arm64 programs do not run in a chroot: the registered emulator is looked up there (no F flag)")
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("arm64 programs do not run: %w: the temporary directory may be mounted noexec; set TMPDIR to another", err)
	case err == nil:
		return fmt.Errorf("an arm64 program that exits with %d exited with 0", proofStatus)
	}
	return fmt.Errorf("an arm64 program that exits with %d did not: %w %s", proofStatus, err, output)
}
