package native

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/source/debian"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
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

Package: kmod
Status: install ok unpacked
Version: 34

Package: gone
Status: deinstall ok config-files
Version: 1
`

// testOverlay has two programs of dash, the link depmod, and sed.
func testOverlay(t *testing.T) *Overlay {
	t.Helper()
	tree := t.TempDir()
	for _, path := range []string{"usr/bin/dash", "usr/bin/extra", "usr/sbin/depmod", "usr/bin/sed", ownDir + "/ld.so", ownDir + "/lib/libc.so.6"} {
		write(t, filepath.Join(tree, path), program(elf.EM_X86_64))
	}
	return &Overlay{tree: tree, log: progress.New(io.Discard), told: map[string]bool{}, packages: map[string]contents{
		"dash": {Version: "0.5.12-12", Programs: map[string]string{"usr/bin/dash": "", "usr/bin/extra": ""}},
		"kmod": {Version: "34", Programs: map[string]string{"usr/sbin/depmod": "../bin/kmod"}},
		"sed":  {Version: "4.9-2", Programs: map[string]string{"usr/bin/sed": ""}},
	}}
}

// Versions of Debian and of Raspberry Pi OS have these forms.
func TestWhichNativeProgramsFit(t *testing.T) {
	all := map[string]tool{}
	for _, tool := range tools() {
		all[tool.pkg] = tool
	}
	for _, tt := range []struct {
		pkg, there, own string
		want            bool
	}{
		{"sed", "4.9-2", "4.9-2", true},
		{"sed", "4.9-2", "4.9-2+b3", true},
		{"gzip", "1.13-1", "1.13-1+deb13u1", true},
		{"gzip", "1.12-1", "1.13-1", false},
		{"libc-bin", "2.41-12+rpt1+deb13u2", "2.41-12+deb13u5", true},
		{"openssh-client", "1:10.0p1-7+deb13u2", "1:10.0p1-7+deb13u4", true},
		{"openssh-client", "1:9.2p1-2+deb12u10", "1:10.0p1-7", false},
		{"python3.13-minimal", "3.13.5-2+deb13u1", "3.13.5-2+deb13u5", true},
		{"python3.13-minimal", "3.13.5-2", "3.13.6-1", false},
		{"perl-base", "5.40.1-6", "5.40.2-1", false},
		{"systemd", "257.9-1~deb13u1", "257.13-1~deb13u1", true},
		{"systemd", "257.9-1", "258.1-1", false},
		{"openssl", "3.5.7-1~deb13u3", "3.5.9-1~deb13u1", true},
		{"openssl", "3.5.9-1", "3.6.0-1", false},
		{"dpkg", "1.22.21", "1.22.22+deb13u1", true},
		{"dpkg", "1.21.22", "1.22.22", false},
		{"apt", "3.0.3+rpt1", "3.0.4", true},
		{"apt", "2.6.1", "3.0.4", false},
	} {
		if got := all[tt.pkg].fits(tt.there, tt.own); got != tt.want {
			t.Errorf("%s %s for %s: %v, want %v", tt.pkg, tt.own, tt.there, got, tt.want)
		}
	}
}

func TestOnlyProgramsThatFitAreReplaced(t *testing.T) {
	lower, upper := t.TempDir(), t.TempDir()
	for _, f := range []string{"dash", "kmod", "sed"} {
		write(t, filepath.Join(lower, "usr/bin", f), program(elf.EM_AARCH64))
	}
	write(t, filepath.Join(lower, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "", "4.9-2"))
	write(t, filepath.Join(upper, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "+deb13u1", "4.8-1"))
	if err := os.MkdirAll(filepath.Join(upper, "usr/sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../bin/kmod", filepath.Join(upper, "usr/sbin/depmod")); err != nil {
		t.Fatal(err)
	}
	o := testOverlay(t)
	files, err := o.Files([]string{upper, lower})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	// extra is not in the root file system, and sed is of another version there.
	want := []string{"usr/bin/dash", "usr/sbin/depmod", ownDir + "/ld.so", ownDir + "/lib/libc.so.6"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
}

func TestMatches(t *testing.T) {
	tree := t.TempDir()
	for version, want := range map[string]bool{"4.9-2": true, "4.9-2+b1": true, "4.9-3": false} {
		write(t, filepath.Join(tree, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "", version))
		if got, err := testOverlay(t).Matches([]string{tree}); got != want || err != nil {
			t.Errorf("sed %s: got %v, %v, want %v", version, got, err, want)
		}
	}
	if _, err := testOverlay(t).Matches([]string{t.TempDir()}); err == nil {
		t.Error("a tree without packages matches")
	}
}

func TestParsePrograms(t *testing.T) {
	list := "./\n./bin/dash\n./usr/sbin/\n./usr/sbin/installkernel\n./usr/share/x\n"
	if diff := cmp.Diff([]string{"usr/bin/dash", "usr/sbin/installkernel"}, parsePrograms(list)); diff != "" {
		t.Error(diff)
	}
}

func TestPresent(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "var/lib/dpkg/status"), []byte("Package: a\nStatus: install ok unpacked\nVersion: 1\n\n"+
		"Package: b\nStatus: install ok triggers-pending\nVersion: 2\n\n"+
		"Package: c\nStatus: deinstall ok config-files\nVersion: 3\n\n"+
		"Package: d\nStatus: install reinstreq half-installed\nVersion: 4\n"))
	got, err := present([]string{t.TempDir(), tree})
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	extracted := t.TempDir() // as mmdebstrap leaves it
	write(t, filepath.Join(extracted, "var/lib/dpkg/status"), nil)
	write(t, filepath.Join(extracted, debian.ArchivesDir, "iproute2_1%3a6.15.0-1_arm64.deb"), nil)
	got, err = present([]string{extracted})
	if diff := cmp.Diff(map[string]string{"iproute2": "1:6.15.0-1"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestPatchArchitecture(t *testing.T) {
	got, err := patchArchitecture("usr/bin/dpkg", []byte("1.22 (amd64)\x00amd64\x00native-amd64\x00"))
	if want := "1.22 (amd64)\x00arm64\x00native-amd64\x00"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if _, err := patchArchitecture("usr/bin/dpkg", []byte("1.22 (amd64)\x00")); err == nil {
		t.Error("a dpkg that would manage packages of the build machine was taken")
	}
}

func TestPatchInterpreter(t *testing.T) {
	if !Supported() {
		t.Skip("native programs are for amd64 build machines")
	}
	raw, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	got, err := patchInterpreter(raw)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil || strings.TrimRight(string(name), "\x00") != loader || len(name) != int(p.Filesz) {
				t.Errorf("the loader is %q, %v", name, err)
			}
			return
		}
	}
	t.Error("/bin/true names no loader")
}

func TestAnotherSystemKeepsAllItsPrograms(t *testing.T) {
	lower := t.TempDir()
	write(t, filepath.Join(lower, "var/lib/dpkg/status"), fmt.Appendf(nil, status, "~other", "5"))
	files, err := testOverlay(t).Files([]string{lower})
	if err != nil || len(files) != 0 {
		t.Errorf("got %v, %v, want no files", files, err)
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
		if err := testOverlay(t).Verify(upper); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		write(t, filepath.Join(upper, "boot/firmware/initramfs8"), initramfs(t, elf.EM_X86_64, pack))
		if err := testOverlay(t).Verify(upper); err == nil || !strings.Contains(err.Error(), "/boot/firmware/initramfs8 holds bin/kmod") {
			t.Errorf("%s: got %v, want the program and where it is", name, err)
		}
	}
	upper := t.TempDir()
	write(t, filepath.Join(upper, "opt/x"), program(elf.EM_X86_64))
	if err := testOverlay(t).Verify(upper); err == nil || !strings.Contains(err.Error(), "/opt/x") {
		t.Errorf("got %v, want the file's name", err)
	}
	upper = t.TempDir()
	write(t, filepath.Join(upper, "boot/initrd.img"), []byte("what is this?"))
	if err := testOverlay(t).Verify(upper); err == nil {
		t.Error("an initramfs that could not be read was taken for a good one")
	}
}

func TestCrashed(t *testing.T) {
	for output, want := range map[string]string{
		"E: Unable to locate package x":                                            "",
		"ok\n/usr/bin/perl: error while loading shared libraries: libx.so: cannot": "perl",
		"sed: symbol lookup error: sed: undefined symbol: x":                       "sed",
		"line 3:   123 Segmentation fault      dpkg-deb --x":                       `program behind the line "line 3:   123 Segmentation fault      dpkg-deb --x"`,
	} {
		if got := (&Overlay{}).Crashed(output); got != want {
			t.Errorf("Crashed(%q) = %q, want %q", output, got, want)
		}
	}
}

var _ chroot.NativeOverlay = (*Overlay)(nil)
