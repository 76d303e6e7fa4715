package diskimage

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// toolEnv is the environment in which file systems are made and read: what
// comes out depends on neither the build machine's locale and configuration nor,
// as FAT keeps local times, its zone.
func toolEnv() []string {
	return append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC",
		"MTOOLSRC=/dev/null", "MTOOLS_SKIP_CHECK=1", "MKE2FS_CONFIG=/dev/null")
}

// toolEnvAt is toolEnv for tools that are to take t for now.
func toolEnvAt(t time.Time) []string {
	epoch := strconv.FormatInt(t.Unix(), 10)
	// e2fsprogs before 1.47.1 knows only the second name.
	return append(toolEnv(), "SOURCE_DATE_EPOCH="+epoch, "E2FSPROGS_FAKE_TIME="+epoch)
}

// bootFile is a file or directory for the boot file system.
type bootFile struct {
	path string // relative
	dir  bool
	time time.Time
}

// fillBoot copies the boot files of src. mcopy takes directories in the order
// of the build machine's file system, so it is given every file by name.
func (l Layout) fillBoot(ctx context.Context, src Source, img string) error {
	var found bytes.Buffer
	err := process.Cmd{
		Argv:   src.Argv("find", src.BootDir(), "-mindepth", "1", "-printf", `%y %T@ %P\0`),
		Stdout: &found,
	}.Run(ctx)
	if err != nil {
		return err
	}
	files, err := parseBootFiles(found.String())
	if err != nil {
		return err
	}
	// Before 1980 there was no FAT.
	first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	made := l.Latest
	if made.Before(first) {
		made = first
	}
	for _, argv := range fillBootArgvs(files, src.BootDir(), mtoolsImage(img, l.boot()), first, l.Latest) {
		if err := (process.Cmd{Argv: src.Argv(argv...), Env: toolEnvAt(made)}).Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func parseBootFiles(found string) ([]bootFile, error) {
	var files []bootFile
	for line := range strings.SplitSeq(strings.TrimSuffix(found, "\x00"), "\x00") {
		if line == "" {
			continue
		}
		parts := strings.SplitN(line, " ", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("reading find's line %q", line)
		}
		whole, _, _ := strings.Cut(parts[1], ".")
		seconds, err := strconv.ParseInt(whole, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading find's line %q: %w", line, err)
		}
		files = append(files, bootFile{path: parts[2], dir: parts[0] == "d", time: time.Unix(seconds, 0)})
	}
	slices.SortFunc(files, func(a, b bootFile) int { return cmp.Compare(a.path, b.path) })
	return files, nil
}

// fillBootArgvs makes the directories and then fills them, one after the other.
// Directories, and files changed before first or after latest, get the time at
// which mtools says it makes them.
func fillBootArgvs(files []bootFile, from, image string, first, latest time.Time) [][]string {
	to := func(dir string) string { return "::" + strings.TrimPrefix(path.Join("/", dir), "/") }
	type batch struct {
		dir  string
		keep bool
	}
	batches := map[batch][]string{}
	dirs := []string{}
	mkdir := []string{"mmd", "-i", image}
	for _, f := range files {
		if f.dir {
			dirs = append(dirs, f.path)
			mkdir = append(mkdir, to(f.path))
			continue
		}
		b := batch{path.Dir(f.path), !f.time.Before(first) && !f.time.After(latest)}
		batches[b] = append(batches[b], path.Join(from, f.path))
	}
	var argvs [][]string
	if len(dirs) > 0 {
		argvs = append(argvs, mkdir)
	}
	for _, dir := range append([]string{"."}, dirs...) {
		for _, keep := range []bool{true, false} {
			sources := batches[batch{dir, keep}]
			if len(sources) == 0 {
				continue
			}
			argv := []string{"mcopy", "-p", "-Q", "-i", image}
			if keep {
				argv = slices.Insert(argv, 1, "-m")
			}
			argvs = append(argvs, append(append(argv, sources...), to(dir)))
		}
	}
	return argvs
}
