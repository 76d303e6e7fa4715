package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"
)

// Needs says what a target is about to ask of the machine.
type Needs struct {
	Groups []Group
	Kernel bool             // namespaces, overlayfs, loop devices and ext4
	Root   bool             // has to run as root now; without it, being able to become root is enough
	Disk   map[string]int64 // bytes that have to be free, by directory; directories on one disk add up
}

// Problem is one thing that keeps the machine from doing what is needed.
type Problem struct {
	What    string // what is missing or wrong
	Package string // the package that brings it, if one does
	Hint    string // otherwise: what a person can do about it
}

// Report is everything that is missing.
type Report struct {
	Distribution string // the ID in /etc/os-release
	Problems     []Problem
	// Unchecked lists the checks that could not be made yet, and why.
	Unchecked []string
}

// OK reports whether nothing is missing.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Packages returns the packages to install, each once, sorted.
func (r Report) Packages() []string {
	var names []string
	for _, p := range r.Problems {
		if p.Package != "" {
			names = append(names, p.Package)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// String lists all problems, one a line, with what to do about each.
func (r Report) String() string {
	if r.OK() {
		return "nothing is missing"
	}
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "- %s", p.What)
		switch {
		case p.Package != "":
			fmt.Fprintf(&b, " [package %s]", p.Package)
		case p.Hint != "":
			fmt.Fprintf(&b, ": %s", p.Hint)
		}
		b.WriteByte('\n')
	}
	for _, u := range r.Unchecked {
		fmt.Fprintf(&b, "- not checked yet: %s\n", u)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// Err returns nil if nothing is missing, and otherwise an error that lists it
// all and says how to go on.
func (r Report) Err() error {
	if r.OK() {
		return nil
	}
	err := fmt.Errorf("this machine is not ready:\n%s", r)
	if len(r.Packages()) > 0 {
		err = fmt.Errorf("%w\n`go tool mage prereqs` installs the packages", err)
	}
	return err
}

// Check finds out everything that n asks for and that this machine lacks. It
// changes nothing.
func Check(ctx context.Context, n Needs) (Report, error) {
	return this().check(ctx, n)
}

// machine is what a check looks at; a test puts its own in.
type machine struct {
	root     string // prefix of absolute paths: a directory that stands for /
	euid     int
	lookPath func(string) (string, error)
	sudo     bool
	free     func(dir string) (disk uint64, bytes int64, err error)
	probe    func(ctx context.Context) []Problem
}

func this() machine {
	m := machine{root: "/", euid: os.Geteuid(), lookPath: lookPath, free: freeSpace, probe: probeKernel}
	_, err := lookPath("sudo")
	m.sudo = err == nil
	return m
}

func (m machine) check(ctx context.Context, n Needs) (Report, error) {
	var r Report
	var err error
	if r.Distribution, err = distribution(filepath.Join(m.root, "etc/os-release")); err != nil {
		return r, err
	}
	r.Problems = m.missing(n.Groups)
	if err := m.checkRoot(ctx, n, &r); err != nil {
		return r, err
	}
	if err := m.checkSpace(n, &r); err != nil {
		return r, err
	}
	return r, nil
}

func (m machine) missing(groups []Group) []Problem {
	var problems []Problem
	for _, req := range Requirements() {
		wanted := slices.ContainsFunc(req.Groups, func(g Group) bool { return slices.Contains(groups, g) })
		if wanted && !m.has(req) {
			problems = append(problems, Problem{
				What:    fmt.Sprintf("%s is missing (%s)", req.Name(), req.For),
				Package: req.Package,
			})
		}
	}
	return problems
}

func (m machine) has(req Requirement) bool {
	if req.Tool != "" {
		return m.hasTool(req.Tool)
	}
	return slices.ContainsFunc(req.Files, func(f string) bool {
		_, err := os.Stat(filepath.Join(m.root, f))
		return err == nil
	})
}

func (m machine) hasTool(name string) bool {
	_, err := m.lookPath(name)
	return err == nil
}

func (m machine) checkRoot(ctx context.Context, n Needs, r *Report) error {
	if m.euid != 0 {
		if n.Root || n.Kernel && !m.sudo {
			r.Problems = append(r.Problems, Problem{What: "not running as root", Hint: rootHint(m.sudo)})
		}
		if n.Kernel {
			r.Unchecked = append(r.Unchecked, "the kernel's features, which takes root")
		}
		return nil
	}
	if !n.Kernel {
		return nil
	}
	tools := []string{"unshare", "mount", "mke2fs"}
	if i := slices.IndexFunc(tools, func(tool string) bool { return !m.hasTool(tool) }); i >= 0 {
		r.Unchecked = append(r.Unchecked, "the kernel's features, which takes "+tools[i])
		return nil
	}
	r.Problems = append(r.Problems, m.probe(ctx)...)
	return ctx.Err()
}

func (m machine) checkSpace(n Needs, r *Report) error {
	type disk struct {
		need, free int64
		dirs       []string
	}
	disks := map[uint64]*disk{}
	var order []*disk
	for _, dir := range slices.Sorted(maps.Keys(n.Disk)) {
		id, free, err := m.free(dir)
		if err != nil {
			return err
		}
		d := disks[id]
		if d == nil {
			d = &disk{free: free}
			disks[id], order = d, append(order, d)
		}
		d.need += n.Disk[dir]
		d.dirs = append(d.dirs, dir)
	}
	for _, d := range order {
		if d.free < d.need {
			r.Problems = append(r.Problems, Problem{
				What: fmt.Sprintf("too little disk: %s for %s, %s free", size(d.need), strings.Join(d.dirs, " and "), size(d.free)),
				Hint: fmt.Sprintf("free %s there, or move the directory to a larger disk", size(d.need-d.free)),
			})
		}
	}
	return nil
}

// freeSpace looks at the nearest directory above dir that exists.
func freeSpace(dir string) (disk uint64, bytes int64, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, 0, err
	}
	for {
		var st unix.Stat_t
		err := unix.Stat(dir, &st)
		if err == nil {
			var fs unix.Statfs_t
			if err := unix.Statfs(dir, &fs); err != nil {
				return 0, 0, fmt.Errorf("asking for the free space of %s: %w", dir, err)
			}
			return uint64(st.Dev), int64(fs.Bavail) * int64(fs.Bsize), nil
		}
		if dir == "/" || !errors.Is(err, unix.ENOENT) {
			return 0, 0, fmt.Errorf("asking for the free space of %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
}

// lookPath finds a program in PATH or where root's programs are, which is not
// in the PATH of an ordinary user of Debian.
func lookPath(tool string) (string, error) {
	path, err := exec.LookPath(tool)
	if err == nil {
		return path, nil
	}
	for _, dir := range sbin() {
		if path, err := exec.LookPath(filepath.Join(dir, tool)); err == nil {
			return path, nil
		}
	}
	return "", err
}

func sbin() []string { return []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} }

func size(bytes int64) string {
	return units.CustomSize("%.3g %s", float64(bytes), 1000, []string{"B", "kB", "MB", "GB", "TB"})
}
