package assist

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/cubeos-app/releases/magefiles/internal/rootfs"
)

// program returns the first bytes of a program for machine.
func program(machine elf.Machine) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[19], b[20] = 2, byte(machine), byte(machine>>8), 1
	b[52] = 64
	return b
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
}

const status = `Package: dash
Status: install ok installed
Version: 0.5.12-12%s

Package: sed
Status: install ok installed
Version: %s

Package: gone
Status: deinstall ok config-files
Version: 1
`

// kit returns a kit with dash, whose program and script are lent or not, and sed.
func kit(t *testing.T) *Kit {
	t.Helper()
	tree := t.TempDir()
	write(t, filepath.Join(tree, "usr/bin/dash"), program(elf.EM_X86_64))
	write(t, filepath.Join(tree, "usr/bin/script"), []byte("#!/bin/sh\n"))
	write(t, filepath.Join(tree, "usr/bin/extra"), program(elf.EM_X86_64))
	write(t, filepath.Join(tree, "usr/bin/sed"), program(elf.EM_X86_64))
	write(t, filepath.Join(tree, "usr/lib/x86_64-linux-gnu/libc.so.6"), program(elf.EM_X86_64))
	write(t, filepath.Join(tree, "usr/lib64/ld.so"), program(elf.EM_X86_64))
	write(t, filepath.Join(tree, "var/lib/dpkg/info/dash.list"), []byte("/.\n/bin/dash\n/usr/bin/script\n/usr/bin/extra\n/usr/share/x\n"))
	write(t, filepath.Join(tree, "var/lib/dpkg/info/sed.list"), []byte("/usr/bin/sed\n"))
	write(t, filepath.Join(tree, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "", "4.9-2"))
	versions, err := installed([]string{tree})
	if err != nil {
		t.Fatal(err)
	}
	return &Kit{tree: tree, versions: versions}
}

func TestLendOnlyTwins(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	for _, f := range []string{"dash", "script", "sed"} {
		write(t, filepath.Join(lower, "usr/bin", f), program(elf.EM_AARCH64))
	}
	write(t, filepath.Join(lower, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "", "4.9-2"))
	write(t, filepath.Join(upper, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "+b3", "4.9-3"))
	files, err := kit(t).Lend([]string{upper, lower})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	// extra is not in the root file system, script is no program, sed is another version.
	want := []string{"usr/bin/dash", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld.so", "lib64"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}

func TestLendNothingToAStranger(t *testing.T) {
	lower := t.TempDir()
	write(t, filepath.Join(lower, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "~other", "5"))
	files, err := kit(t).Lend([]string{lower})
	if err != nil || len(files) != 0 {
		t.Errorf("lent %v, %v", files, err)
	}
}

func archive(entries ...any) []byte {
	var b bytes.Buffer
	for i := 0; i < len(entries); i += 2 {
		name, body := entries[i].(string), entries[i+1].([]byte)
		fmt.Fprintf(&b, "070701%032x%016x%08x%032x%08x%08x", 0, 0, len(body), 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, padding(int64(b.Len()))))
		b.Write(body)
		b.Write(make([]byte, padding(int64(b.Len()))))
	}
	return b.Bytes()
}

func initramfs(t *testing.T, machine elf.Machine, pack func(*testing.T, []byte) []byte) []byte {
	t.Helper()
	end := []any{"TRAILER!!!", []byte{}}
	early := archive(append([]any{"kernel/x", []byte("odd")}, end...)...)
	main := archive(append([]any{"bin/sh", program(elf.EM_AARCH64), "bin/kmod", program(machine)}, end...)...)
	return append(append(early, make([]byte, 512)...), pack(t, main)...)
}

func packers() map[string]func(*testing.T, []byte) []byte {
	return map[string]func(*testing.T, []byte) []byte{
		"plain": func(_ *testing.T, b []byte) []byte { return b },
		"gzip": func(t *testing.T, b []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			w.Write(b)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		},
		"zstd": func(t *testing.T, b []byte) []byte {
			w, err := zstd.NewWriter(nil)
			if err != nil {
				t.Fatal(err)
			}
			return w.EncodeAll(b, nil)
		},
	}
}

func TestVerifyFindsWhatWasCopied(t *testing.T) {
	for name, pack := range packers() {
		upper := t.TempDir()
		write(t, filepath.Join(upper, "boot/initrd.img-6"), initramfs(t, elf.EM_AARCH64, pack))
		write(t, filepath.Join(upper, "usr/bin/x"), program(elf.EM_AARCH64))
		if err := kit(t).Verify(upper); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		write(t, filepath.Join(upper, "boot/firmware/initramfs8"), initramfs(t, elf.EM_X86_64, pack))
		if err := kit(t).Verify(upper); err == nil || !strings.Contains(err.Error(), "/boot/firmware/initramfs8 holds bin/kmod") {
			t.Errorf("%s: got %v, want the program and where it is", name, err)
		}
	}
	upper := t.TempDir()
	write(t, filepath.Join(upper, "opt/x"), program(elf.EM_X86_64))
	if err := kit(t).Verify(upper); err == nil || !strings.Contains(err.Error(), "/opt/x") {
		t.Errorf("got %v, want the file's name", err)
	}
	upper = t.TempDir()
	write(t, filepath.Join(upper, "boot/initrd.img"), []byte("what is this?"))
	if err := kit(t).Verify(upper); err == nil {
		t.Error("an initramfs that could not be read was taken for a good one")
	}
}

func TestBlame(t *testing.T) {
	for output, want := range map[string]string{
		"E: Unable to locate package x":                                            "",
		"ok\n/usr/bin/perl: error while loading shared libraries: libx.so: cannot": "perl",
		"sed: symbol lookup error: sed: undefined symbol: x":                       "sed",
		"line 3:   123 Segmentation fault      dpkg-deb --x":                       `program behind the line "line 3:   123 Segmentation fault      dpkg-deb --x"`,
	} {
		if got := (&Kit{}).Blame(output); got != want {
			t.Errorf("Blame(%q) = %q, want %q", output, got, want)
		}
	}
}

var _ rootfs.Lender = (*Kit)(nil)
