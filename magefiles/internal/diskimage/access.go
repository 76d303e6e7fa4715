package diskimage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// CopyFAT copies all files of the FAT file system in partition p of img into the
// empty directory dir.
func CopyFAT(ctx context.Context, img string, p Partition, dir string) error {
	return mtools(ctx, process.Cmd{Argv: copyFATArgv(img, p, dir)})
}

// ReadFATFile writes the contents of a file of the FAT file system in partition p
// of img to w.
func ReadFATFile(ctx context.Context, img string, p Partition, name string, w io.Writer) error {
	return mtools(ctx, process.Cmd{Argv: []string{"mtype", "-i", mtoolsImage(img, p), "::" + name}, Stdout: w})
}

// WriteFATFile makes or replaces a file of the FAT file system in partition p of
// img.
func WriteFATFile(ctx context.Context, img string, p Partition, name string, content io.Reader) error {
	return mtools(ctx, process.Cmd{Argv: []string{"mcopy", "-o", "-i", mtoolsImage(img, p), "-", "::" + name}, Stdin: content})
}

// RemoveFATFile removes a file of the FAT file system in partition p of img.
func RemoveFATFile(ctx context.Context, img string, p Partition, name string) error {
	return mtools(ctx, process.Cmd{Argv: []string{"mdel", "-i", mtoolsImage(img, p), "::" + name}})
}

func mtools(ctx context.Context, cmd process.Cmd) error {
	cmd.Env = toolEnv()
	return cmd.Run(ctx)
}

func copyFATArgv(img string, p Partition, dir string) []string {
	return []string{"mcopy", "-s", "-p", "-Q", "-n", "-m", "-i", mtoolsImage(img, p), "::*", dir}
}

// mtoolsImage names a file system inside an image the way mtools reads it.
func mtoolsImage(img string, p Partition) string { return fmt.Sprintf("%s@@%d", img, p.Start) }

// ReadExt4File returns the contents of a file of the ext4 file system in partition
// p of img, nothing if there is none.
func ReadExt4File(ctx context.Context, img string, p Partition, path string) (string, error) {
	return debugfs(ctx, img, p, "cat "+path)
}

// WriteExt4File makes or replaces a file, root's with mode 0644, in a directory of the
// ext4 file system in partition p of img.
func WriteExt4File(ctx context.Context, img string, p Partition, name string, content []byte) (err error) {
	dir, err := os.MkdirTemp("", "cubeos-ext4-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	from, base := filepath.Join(dir, "content"), path.Base(name)
	requests := fmt.Sprintf("cd %s\nrm %s\nwrite %s %s\nset_inode_field %s mode 0100644\nset_inode_field %s uid 0\nset_inode_field %s gid 0\n",
		path.Dir(name), base, from, base, base, base, base)
	if err := os.WriteFile(from, content, 0o644); err != nil {
		return err
	}
	argv := []string{"debugfs", "-w", "-f", "-", ext4Image(img, p)}
	if err := (process.Cmd{Argv: argv, Stdin: strings.NewReader(requests)}).Run(ctx); err != nil {
		return fmt.Errorf("writing %s to the root file system of %s: %w", name, img, err)
	}
	// It succeeds whatever became of the requests.
	written, err := ReadExt4File(ctx, img, p, name)
	if err == nil && written != strings.TrimRight(string(content), "\n") {
		err = fmt.Errorf("%s was not written to the root file system of %s", name, img)
	}
	return err
}

// ListExt4 returns the names of the directories and of everything else in a
// directory of the ext4 file system in partition p of img, none if there is no
// such directory.
func ListExt4(ctx context.Context, img string, p Partition, path string) (dirs, others []string, err error) {
	out, err := debugfs(ctx, img, p, "ls -p "+path)
	if err != nil {
		return nil, nil, err
	}
	dirs, others = parseList(out)
	return dirs, others, nil
}

// parseList reads what debugfs prints for `ls -p`: lines of
// /inode/mode/uid/gid/name/size/, the mode in octal.
func parseList(out string) (dirs, others []string) {
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "/")
		switch {
		case len(f) < 6 || f[5] == "." || f[5] == "..":
		case strings.HasPrefix(f[2], "04"):
			dirs = append(dirs, f[5])
		default:
			others = append(others, f[5])
		}
	}
	return dirs, others
}

// CheckExt4 lets e2fsck look at the ext4 file system in partition p of img
// without changing it.
func CheckExt4(ctx context.Context, img string, p Partition) error {
	return process.Run(ctx, "e2fsck", "-f", "-n", ext4Image(img, p))
}

// debugfs asks for something in the ext4 file system in partition p of img. It
// exits with 0 whatever it finds.
func debugfs(ctx context.Context, img string, p Partition, request string) (string, error) {
	out, err := process.Output(ctx, "debugfs", "-R", request, ext4Image(img, p))
	if err != nil {
		return "", fmt.Errorf("reading the root file system of %s: %w", img, err)
	}
	return out, nil
}

// ext4Image names a file system inside an image the way e2fsprogs reads it.
func ext4Image(img string, p Partition) string { return fmt.Sprintf("%s?offset=%d", img, p.Start) }
