package packer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// copyIn copies what the recipe names into the container, to where it would
// be seen if the daemon shared this machine's files.
func (b *packerRun) copyIn(ctx context.Context) error {
	task := b.Log.Task("copying to the Docker daemon", 0)
	defer task.End()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := b.pack(w, task)
		w.CloseWithError(err)
		packed <- err
	}()
	err := b.docker.CopyToContainer(ctx, b.container, "/", r, container.CopyToContainerOptions{})
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	packErr := <-packed
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("copying the recipe and the base image to the Docker daemon at %s: %w", b.docker.DaemonHost(), err)
	}
	return packErr
}

// pack writes an archive of the container's files below its root directory.
func (b *packerRun) pack(w io.Writer, task *progress.Task) error {
	a := archive{tar.NewWriter(w), task}
	if err := a.dir(outputDir); err != nil {
		return err
	}
	for _, path := range append([]string{b.Template, b.VarFile}, b.relative()...) {
		if err := a.tree(filepath.Join(b.Root, path), treeDir+"/"+filepath.ToSlash(path)); err != nil {
			return err
		}
	}
	if err := a.tree(b.job.Base.Path, basePath(b.job.Base)); err != nil {
		return err
	}
	return a.w.Close()
}

func (b *packerRun) relative() []string {
	var paths []string
	for _, path := range named(b.job) {
		paths = append(paths, b.rel(path))
	}
	return paths
}

// archive is a tar archive under way. Everything in it belongs to root.
type archive struct {
	w    *tar.Writer
	task *progress.Task
}

func (a archive) dir(to string) error {
	return a.w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(to, "/") + "/", Mode: 0o755})
}

// tree adds a file or a directory with all that is in it as to. A link is
// followed: what is behind it may not be copied.
func (a archive) tree(from, to string) error {
	from, err := filepath.EvalSymlinks(from)
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return a.file(file, path.Join(to, filepath.ToSlash(rel)), info)
	})
}

func (a archive) file(from, to string, info fs.FileInfo) (err error) {
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(from); err != nil {
			return err
		}
	}
	head, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return fmt.Errorf("packing %s: %w", from, err)
	}
	head.Name, head.Uid, head.Gid, head.Uname, head.Gname = strings.TrimPrefix(to, "/"), 0, 0, "", ""
	if err := a.w.WriteHeader(head); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.MultiWriter(a.w, a.task), f)
	return err
}

// copyOut brings the image here. Its zeros become holes: most of it is empty.
func (b *packerRun) copyOut(ctx context.Context) error {
	task := b.Log.Task("copying the image from the Docker daemon", 0)
	defer task.End()
	stream, _, err := b.docker.CopyFromContainer(ctx, b.container, imagePath(b.job))
	if err != nil {
		return fmt.Errorf("copying the image out of the builder's container: %w", err)
	}
	defer stream.Close()
	files := tar.NewReader(stream)
	head, err := files.Next()
	if err == nil && head.Typeflag != tar.TypeReg {
		err = fmt.Errorf("%s is no file", head.Name)
	}
	if err == nil {
		err = process.Cmd{
			Argv:  []string{"dd", "of=" + b.made(), "bs=1M", "iflag=fullblock", "conv=sparse", "status=none"},
			Stdin: io.TeeReader(files, task),
		}.Run(ctx)
	}
	if err != nil {
		return fmt.Errorf("copying the image out of the builder's container: %w", err)
	}
	if info, err := os.Stat(b.made()); err != nil || info.Size() != head.Size {
		return fmt.Errorf("copying the image out of the builder's container: not all of its %d bytes arrived: %w", head.Size, err)
	}
	return nil
}
