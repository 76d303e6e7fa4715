package host

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

func TestHelloIsAnARM64Program(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(helloARM64()))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != elf.EM_AARCH64 || f.Type != elf.ET_EXEC || len(f.Progs) != 1 {
		t.Errorf("got %+v", f.FileHeader)
	}
	p := f.Progs[0]
	if p.Type != elf.PT_LOAD || p.Flags != elf.PF_R|elf.PF_X || p.Filesz != uint64(len(helloARM64())) || f.Entry != p.Vaddr+120 {
		t.Errorf("got %+v, entry %#x", p.ProgHeader, f.Entry)
	}
}

func TestRuleIsWhatDebianRegisters(t *testing.T) {
	const debian = `:qemu-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/libexec/qemu-binfmt/aarch64-binfmt-P:OPF`
	if got := rule(emulator{"/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "OPF"}); got != debian {
		t.Errorf("got  %s\nwant %s", got, debian)
	}
}

const workingEntry = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"

func TestParseEntry(t *testing.T) {
	e, err := parseEntry("qemu-aarch64", workingEntry)
	if err != nil {
		t.Fatal(err)
	}
	want := entry{Name: "qemu-aarch64", Enabled: true, Interpreter: "/usr/libexec/qemu-binfmt/aarch64-binfmt-P", Flags: "POCF", Magic: []byte(arm64Magic), Mask: []byte(arm64Mask)}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"enabled\nmagic 7f4\n", "enabled\noffset x\n"} {
		if _, err := parseEntry("x", bad); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

func TestEntryMatches(t *testing.T) {
	arm, _ := parseEntry("a", workingEntry)
	amd64 := bytes.Replace(helloARM64(), []byte("\x02\x00\xb7\x00"), []byte("\x02\x00\x3e\x00"), 1)
	pie := bytes.Replace(helloARM64(), []byte("\x02\x00\xb7\x00"), []byte("\x03\x00\xb7\x00"), 1)
	for name, tt := range map[string]struct {
		e       entry
		program []byte
		want    bool
	}{
		"arm64":             {arm, helloARM64(), true},
		"arm64 PIE":         {arm, pie, true},
		"amd64":             {arm, amd64, false},
		"too short":         {arm, helloARM64()[:10], false},
		"by extension":      {entry{}, helloARM64(), false},
		"without a mask":    {entry{Magic: []byte("\x7fELF")}, helloARM64(), true},
		"at an offset":      {entry{Offset: 18, Magic: []byte{0xb7}}, helloARM64(), true},
		"at another offset": {entry{Offset: 19, Magic: []byte{0xb7}}, helloARM64(), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.e.matches(tt.program); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// fakeBinfmt is a directory that stands for binfmt_misc. Unlike the kernel's
// it keeps what is written, for the test to read.
func fakeBinfmt(t *testing.T, entries map[string]string) string {
	dir := t.TempDir()
	files := map[string]string{"register": "", "status": "enabled\n"}
	maps.Copy(files, entries)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSetUpHandlerDecides(t *testing.T) {
	root := t.TempDir()
	install(t, root, "/usr/bin/qemu-aarch64-static", helloARM64())
	works := func(context.Context) error { return nil }
	failsOnce := func() func(context.Context) error {
		n := 0
		return func(context.Context) error {
			if n++; n == 1 {
				return errors.New("no go")
			}
			return nil
		}
	}
	for name, tt := range map[string]struct {
		entries    map[string]string
		prove      func(context.Context) error
		registered bool
		said       string
	}{
		"nothing there":     {nil, works, true, "arm64 programs run by"},
		"a foreign handler": {map[string]string{"qemu-arm": strings.Replace(workingEntry, "b700", "2800", 1)}, works, true, "arm64 programs run by"},
		"it works":          {map[string]string{"qemu-aarch64": workingEntry}, works, false, "nothing to do"},
		"another name":      {map[string]string{"arm64": workingEntry}, works, false, "nothing to do"},
		"no F":              {map[string]string{"qemu-aarch64": strings.Replace(workingEntry, "POCF", "OC", 1)}, works, true, "no F flag"},
		"disabled":          {map[string]string{"qemu-aarch64": strings.Replace(workingEntry, "enabled", "disabled", 1)}, works, true, "it is disabled"},
		"it does not work":  {map[string]string{"qemu-aarch64": workingEntry}, failsOnce(), true, "it does not work: no go"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := fakeBinfmt(t, tt.entries)
			var out bytes.Buffer
			if err := setUpHandler(t.Context(), progress.New(&out), dir, root, tt.prove); err != nil {
				t.Fatal(err)
			}
			got, _ := os.ReadFile(filepath.Join(dir, "register"))
			if (len(got) > 0) != tt.registered {
				t.Errorf("registered %q", got)
			}
			if !strings.Contains(out.String(), tt.said) {
				t.Errorf("said %q, want %q", out.String(), tt.said)
			}
			if tt.registered && tt.entries["qemu-aarch64"] != "" {
				if b, _ := os.ReadFile(filepath.Join(dir, "qemu-aarch64")); !bytes.HasPrefix(b, []byte("-1")) {
					t.Error("the old handler was not removed")
				}
			}
		})
	}
}

// install writes a program, for which any static ELF file will do.
func install(t *testing.T, root, path string, content []byte) {
	t.Helper()
	p := filepath.Join(root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, content, 0o755)); err != nil {
		t.Fatal(err)
	}
}

func TestFindEmulator(t *testing.T) {
	const libexec, static, plain = "/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "/usr/bin/qemu-aarch64-static", "/usr/bin/qemu-aarch64"
	staticELF, dynamicELF := helloARM64(), helloARM64()
	dynamicELF[64] = byte(elf.PT_INTERP)
	for name, tt := range map[string]struct {
		installed map[string][]byte
		want      emulator
		wantErr   string
	}{
		"none":                         {nil, emulator{}, "mage prereqs"},
		"Debian's and Ubuntu's":        {map[string][]byte{libexec: staticELF, static: staticELF, plain: staticELF}, emulator{libexec, "OPF"}, ""},
		"another distribution's":       {map[string][]byte{static: staticELF}, emulator{static, "OF"}, ""},
		"a dynamic one is no use":      {map[string][]byte{plain: dynamicELF}, emulator{}, "not linked statically"},
		"a dynamic one is passed over": {map[string][]byte{libexec: dynamicELF, static: staticELF}, emulator{static, "OF"}, ""},
		"not a program":                {map[string][]byte{static: []byte("no ELF")}, emulator{}, static},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, content := range tt.installed {
				install(t, root, path, content)
			}
			got, err := findEmulator(root)
			if got != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestProofError(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("fork/exec: %w", syscall.ENOEXEC), "Exec format error"},
		{fmt.Errorf("fork/exec: %w", syscall.ENOENT), "no F flag"},
		{fmt.Errorf("fork/exec: %w", syscall.EACCES), "noexec"},
		{nil, "exited with 0"},
		{errors.New("signal: segmentation fault"), "segmentation fault"},
	} {
		if err := proofError(t.Context(), tt.err, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v became %v, want %q", tt.err, err, tt.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]float64{
		"qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright": 7.2,
		"qemu-aarch64 version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)":             10.0,
	} {
		if got, ok := parseVersion(text); !ok || got != want {
			t.Errorf("%q: %v %t", text, got, ok)
		}
	}
	if _, ok := parseVersion("usage:"); ok {
		t.Error("no version was read as one")
	}
}
