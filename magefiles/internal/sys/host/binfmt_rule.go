package host

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// entry is one handler, as its file in binfmt_misc describes it.
type entry struct {
	Name        string
	Enabled     bool
	Interpreter string
	Flags       string
	Offset      int
	Magic, Mask []byte
}

func parseEntry(name, text string) (entry, error) {
	e := entry{Name: name}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var err error
		switch key {
		case "enabled":
			e.Enabled = true
		case "interpreter":
			e.Interpreter = value
		case "flags:":
			e.Flags = value
		case "offset":
			e.Offset, err = strconv.Atoi(value)
		case "magic":
			e.Magic, err = hex.DecodeString(value)
		case "mask":
			e.Mask, err = hex.DecodeString(value)
		}
		if err != nil {
			return e, fmt.Errorf("reading the handler %s: %q: %w", name, strings.TrimSpace(line), err)
		}
	}
	return e, nil
}

// matches reports whether the kernel would give program to the handler.
func (e entry) matches(program []byte) bool {
	if len(e.Magic) == 0 || e.Offset+len(e.Magic) > len(program) {
		return false
	}
	for i, want := range e.Magic {
		mask := byte(0xff)
		if i < len(e.Mask) {
			mask = e.Mask[i]
		}
		if (program[e.Offset+i]^want)&mask != 0 {
			return false
		}
	}
	return true
}

// fault says why the handler can not serve a build, if that can be seen.
func (e entry) fault() string {
	switch {
	case !e.Enabled:
		return "it is disabled"
	case !strings.Contains(e.Flags, "F"):
		return "it has no F flag, so it would look for the emulator inside the chroot"
	}
	return ""
}

func readEntries(dir string) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing the handlers of binfmt_misc: %w", err)
	}
	var entries []entry
	for _, f := range files {
		if f.Name() == "register" || f.Name() == "status" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading a handler of binfmt_misc: %w", err)
		}
		e, err := parseEntry(f.Name(), string(text))
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// emulator is a program that runs arm64 programs.
type emulator struct {
	path  string
	flags string
}

// findEmulator returns the first static emulator under root: a dynamic one
// would look for its libraries inside the chroot.
func findEmulator(root string) (emulator, error) {
	var dynamic []string
	for _, e := range []emulator{
		// The name by which Debian's and Ubuntu's QEMU knows that it gets the
		// program's own argv[0] (flag P), and the flags of their binfmt.d.
		{"/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "OPF"},
		{"/usr/bin/qemu-aarch64-static", "OF"},
		{"/usr/bin/qemu-aarch64", "OF"},
	} {
		static, err := isStatic(filepath.Join(root, e.path))
		switch {
		case static:
			return e, nil
		case err == nil:
			dynamic = append(dynamic, e.path)
		case !errors.Is(err, os.ErrNotExist):
			return emulator{}, fmt.Errorf("looking at the emulator %s: %w", e.path, err)
		}
	}
	if dynamic != nil {
		return emulator{}, fmt.Errorf("the emulator %s is not linked statically and can not work in a chroot: install the package qemu-user-static", strings.Join(dynamic, ", "))
	}
	return emulator{}, errors.New("no emulator for arm64 programs is installed: install the package qemu-user-static, or run `go tool mage prereqs`")
}

func isStatic(path string) (bool, error) {
	f, err := elf.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	return true, nil
}

// Programs are told apart by their first 20 bytes: a 64-bit little-endian ELF
// file of version 1, of any ABI, that is an executable or a shared object
// (which a position-independent program is), for AArch64.
const (
	arm64Magic = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
	arm64Mask  = "\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
)

// rule is the line that registers e: the kernel itself undoes the \x.
func rule(e emulator) string {
	return fmt.Sprintf(":%s:M::%s:%s:%s:%s", handler, escape(arm64Magic), escape(arm64Mask), e.path, e.flags)
}

func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, `\x%02x`, c)
	}
	return b.String()
}

// oldestEmulator is the oldest QEMU an image was ever built with here; older
// ones crash now and then while Python or ldconfig work in the chroot.
const oldestEmulator = 7.2

func warnOldEmulator(ctx context.Context, path string, out *progress.Reporter) {
	text, err := process.Output(ctx, path, "--version")
	if err != nil {
		return // a handler of another machine's, such as a container's host
	}
	if v, ok := parseVersion(text); ok && v < oldestEmulator {
		out.Printf("warning: %s is QEMU %g; programs may crash under versions before %g", path, v, oldestEmulator)
	}
}

func parseVersion(text string) (float64, bool) {
	m := regexp.MustCompile(`version (\d+)\.(\d+)`).FindSubmatch(bytes.TrimSpace([]byte(text)))
	if m == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(string(m[1])+"."+string(m[2]), 64)
	return v, err == nil
}
