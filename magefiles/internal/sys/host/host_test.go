package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRequirementsAreComplete(t *testing.T) {
	groups := map[Group]bool{}
	for _, r := range Requirements() {
		if (r.Tool == "") == (len(r.Files) == 0) || r.Package == "" || r.For == "" || len(r.Groups) == 0 {
			t.Errorf("%+v: want a tool or files, a package, a reason and a group", r)
		}
		for _, g := range r.Groups {
			groups[g] = true
			if !slices.Contains(AllGroups(), g) {
				t.Errorf("%s: unknown group %q", r.Name(), g)
			}
		}
	}
	for _, g := range AllGroups() {
		if !groups[g] {
			t.Errorf("nothing is needed by %s", g)
		}
	}
}

func TestDistribution(t *testing.T) {
	for text, want := range map[string]string{
		"PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n": "debian",
		"ID_LIKE=debian\nID='ubuntu'\n# x\n\n":                                         "ubuntu",
		"":                                                                             "",
	} {
		if got := distributionID(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// fakeMachine has everything, root included, unless a test takes it away.
func fakeMachine(t *testing.T, osRelease string, lacks ...string) machine {
	root := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/os-release", osRelease)
	for _, r := range Requirements() {
		if len(r.Files) > 0 && !slices.Contains(lacks, r.Files[0]) {
			write(r.Files[len(r.Files)-1], "")
		}
	}
	return machine{
		root: root,
		lookPath: func(tool string) (string, error) {
			if slices.Contains(lacks, tool) {
				return "", errors.New("not found")
			}
			return "/usr/bin/" + tool, nil
		},
		free:  func(string) (uint64, int64, error) { return 1, 10e9, nil },
		probe: func(context.Context) []Problem { return nil },
	}
}

func TestCheck(t *testing.T) {
	for name, tt := range map[string]struct {
		osRelease string
		lacks     []string
		change    func(*machine)
		needs     Needs
		packages  []string
		problems  []string // the start of each
		unchecked []string
	}{
		"all there": {needs: Needs{Groups: AllGroups(), Root: true, Kernel: true}},
		"only its own group is asked for": {
			lacks: []string{"shellcheck", "xz", "qemu-img"}, needs: Needs{Groups: []Group{Lint}},
			packages: []string{"shellcheck"}, problems: []string{"shellcheck is missing"},
		},
		"a package for two tools is named once": {
			lacks: []string{"qemu-img", "qemu-io"}, needs: Needs{Groups: []Group{Boot}},
			packages: []string{"qemu-utils"}, problems: []string{"qemu-img is missing", "qemu-io is missing"},
		},
		"a file": {
			lacks: []string{"/usr/share/keyrings/debian-archive-keyring.gpg"}, needs: Needs{Groups: []Group{Lab}},
			packages: []string{"debian-archive-keyring"}, problems: []string{"/usr/share/keyrings/debian-archive-keyring.gpg is missing"},
		},
		"everything at once": {
			lacks: []string{"xz"},
			change: func(m *machine) {
				m.probe = func(context.Context) []Problem { return []Problem{{What: "no overlayfs"}} }
			},
			needs: Needs{Groups: []Group{Build}, Kernel: true,
				Disk: map[string]int64{"/b": 6e9, "/c": 5e9}},
			packages: []string{"xz-utils"},
			problems: []string{"xz is missing", "no overlayfs", "too little disk: 11 GB for /b and /c, 10 GB free"},
		},
		"no root": {
			change: func(m *machine) { m.euid = 1000; m.sudo = true }, needs: Needs{Root: true, Kernel: true},
			problems: []string{"not running as root"}, unchecked: []string{"the kernel's features, which takes root"},
		},
		"root is not needed yet": {
			change: func(m *machine) { m.euid = 1000; m.sudo = true }, needs: Needs{Kernel: true},
			unchecked: []string{"the kernel's features, which takes root"},
		},
		"neither root nor sudo": {
			change: func(m *machine) { m.euid = 1000 }, needs: Needs{Kernel: true},
			problems: []string{"not running as root"}, unchecked: []string{"the kernel's features, which takes root"},
		},
		"the kernel is probed when the tools are there": {
			lacks: []string{"mke2fs"}, needs: Needs{Kernel: true},
			unchecked: []string{"the kernel's features, which takes mke2fs"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := fakeMachine(t, tt.osRelease, tt.lacks...)
			if tt.change != nil {
				tt.change(&m)
			}
			r, err := m.check(t.Context(), tt.needs)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.packages, r.Packages()); diff != "" {
				t.Error("packages", diff)
			}
			if diff := cmp.Diff(tt.unchecked, r.Unchecked); diff != "" {
				t.Error("unchecked", diff)
			}
			if len(r.Problems) != len(tt.problems) {
				t.Fatalf("got\n%s\nwant %q", r, tt.problems)
			}
			for i, p := range r.Problems {
				if !strings.HasPrefix(p.What, tt.problems[i]) {
					t.Errorf("problem %q, want %q…", p.What, tt.problems[i])
				}
				if !strings.Contains(r.Err().Error(), p.What) {
					t.Errorf("the error does not list %q", p.What)
				}
			}
			if r.OK() != (r.Err() == nil) {
				t.Errorf("OK is %t and the error %v", r.OK(), r.Err())
			}
		})
	}
}

func TestFreeSpaceOfADirectoryToBe(t *testing.T) {
	dir := t.TempDir()
	disk, bytes, err := freeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, _, err := freeSpace(filepath.Join(dir, "not", "yet"))
	if err != nil || disk != again || bytes <= 0 {
		t.Errorf("disk %d, %d bytes; disk %d, %v", disk, bytes, again, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := freeSpace(filepath.Join(file, "x")); err == nil {
		t.Error("a file passed for a directory")
	}
}

func TestAptArgv(t *testing.T) {
	for name, tt := range map[string]struct {
		asRoot, args []string
		want         string
	}{
		"root": {nil, []string{"update"}, "env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -o DPkg::Lock::Timeout=300 update"},
		"sudo": {[]string{"sudo", "-n", "--"}, []string{"install", "x"}, "sudo -n -- env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get -o DPkg::Lock::Timeout=300 install x"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(aptArgv(tt.asRoot, tt.args...), " "); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestUniverseHint(t *testing.T) {
	err := errors.New("E: Unable to locate package mmdebstrap")
	if got := universeHint("ubuntu", err); !strings.Contains(got, "universe") {
		t.Errorf("got %q", got)
	}
	if got := universeHint("debian", err); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestPathWithSbin(t *testing.T) {
	for path, want := range map[string]string{
		"":                                   "/usr/local/sbin:/usr/sbin:/sbin",
		"/usr/bin":                           "/usr/bin:/usr/local/sbin:/usr/sbin:/sbin",
		"/usr/sbin:/x:/usr/local/sbin:/sbin": "/usr/sbin:/x:/usr/local/sbin:/sbin",
	} {
		if got := PathWithSbin(path); got != want {
			t.Errorf("%q became %q, want %q", path, got, want)
		}
	}
}

func TestProbeArgv(t *testing.T) {
	want := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-euc", "true", "/d"}
	if diff := cmp.Diff(want, probeArgv("true", "/d")); diff != "" {
		t.Error(diff)
	}
}
