// Package filelist lists all files of a root file system, so that two can be
// compared.
package filelist

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// List describes every file of a root file system, by path.
type List map[string]Entry

// Entry is all that makes a file what it is. Its time is that of its contents:
// an image keeps no other.
type Entry struct {
	Type   byte // as in package archive/tar
	Mode   int64
	Owner  string // uid:gid
	Time   int64  // in seconds since 1970
	Link   string // target of a symbolic link; of several hard links all but the first name that
	XAttrs string // and access control lists, sorted, one a line
	Device string // major:minor
	SHA256 string // of a regular file's contents
}

const bootPath = "/" + chroot.BootDir

// Read reads all files of src.
func Read(ctx context.Context, src diskimage.Source) (List, error) {
	l := List{}
	for _, part := range []struct{ dir, at string }{{src.RootDir(), "/"}, {src.BootDir(), bootPath}} {
		pr, pw := io.Pipe()
		done := make(chan error, 1)
		go func() {
			err := l.read(pr, part.at)
			_, _ = io.Copy(io.Discard, pr) // so that tar can end
			done <- err
		}()
		err := process.Cmd{
			Argv: src.Argv("tar", "--create", "--file=-", "--format=posix", "--sort=name", "--one-file-system",
				"--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--directory="+part.dir, "."),
			Stdout: pw,
		}.Run(ctx)
		pw.Close()
		if err := errors.Join(err, <-done); err != nil {
			return nil, fmt.Errorf("reading the root file system: %w", err)
		}
	}
	// The root directory of a FAT has no time.
	mountPoint := l[bootPath]
	mountPoint.Time = 0
	l[bootPath] = mountPoint
	return l, nil
}

func (l List) read(r io.Reader, at string) error {
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := entryOf(h, files)
		if err != nil {
			return err
		}
		l[path.Join(at, h.Name)] = e
	}
}

func entryOf(h *tar.Header, contents io.Reader) (Entry, error) {
	e := Entry{Type: h.Typeflag, Mode: h.Mode, Owner: fmt.Sprintf("%d:%d", h.Uid, h.Gid), Time: h.ModTime.Unix(), Link: h.Linkname}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		e.Device = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		name, isXAttr := strings.CutPrefix(key, "SCHILY.xattr.")
		if isXAttr || strings.HasPrefix(key, "SCHILY.acl.") {
			e.XAttrs += fmt.Sprintf("%s=%q\n", name, h.PAXRecords[key])
		}
	}
	if h.Typeflag != tar.TypeReg {
		return e, nil
	}
	sum := sha256.New()
	_, err := io.Copy(sum, contents)
	e.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return e, err
}

// Differences lists the paths in which l and other are not the same, sorted,
// with what is different.
func (l List) Differences(other List) []Difference {
	var all []Difference
	paths := maps.Clone(l)
	maps.Copy(paths, other)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		a, inA := l[p]
		b, inB := other[p]
		switch {
		case !inB:
			all = append(all, Difference{p, "only in the first"})
		case !inA:
			all = append(all, Difference{p, "only in the second"})
		case a != b:
			all = append(all, Difference{p, a.differs(b)})
		}
	}
	return all
}

// reported is how many differences an error lists: the first say most.
const reported = 40

// Compare returns an error that lists in what two lists differ.
func Compare(first, second List) error {
	differences := first.Differences(second)
	if len(differences) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "files that differ (%d):", len(differences))
	for _, d := range differences[:min(len(differences), reported)] {
		fmt.Fprintf(&b, "\n%s: %s", d.Path, d.What)
	}
	if n := len(differences) - reported; n > 0 {
		fmt.Fprintf(&b, "\nand %d more", n)
	}
	return errors.New(b.String())
}

// Difference is a path and what is different about it.
type Difference struct{ Path, What string }

func (a Entry) differs(b Entry) string {
	var what []string
	add := func(name string, differ bool, x, y any) {
		if differ {
			what = append(what, fmt.Sprintf("%s %v, %v", name, x, y))
		}
	}
	add("type", a.Type != b.Type, string(a.Type), string(b.Type))
	add("mode", a.Mode != b.Mode, fmt.Sprintf("%o", a.Mode), fmt.Sprintf("%o", b.Mode))
	add("owner", a.Owner != b.Owner, a.Owner, b.Owner)
	add("time", a.Time != b.Time, clock(a.Time), clock(b.Time))
	add("link to", a.Link != b.Link, a.Link, b.Link)
	add("extended attributes", a.XAttrs != b.XAttrs, a.XAttrs, b.XAttrs)
	add("device", a.Device != b.Device, a.Device, b.Device)
	if a.SHA256 != b.SHA256 {
		what = append(what, "contents")
	}
	return strings.Join(what, "; ")
}

func clock(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.DateTime) }
