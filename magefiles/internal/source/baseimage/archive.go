package baseimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Archive compresses the image into the new file path, and writes path.sha256
// beside it, a line for sha256sum.
func (img Image) Archive(ctx context.Context, path string) error {
	ctx, span := timing.Start(ctx, "compressing the base image")
	defer span.End()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	partial := path + ".partial"
	f, err := os.Create(partial)
	if err != nil {
		return err
	}
	// It is unpacked as often as it is made.
	err = process.Cmd{Argv: []string{"xz", "--threads=0", "-1", "--stdout", img.Path}, Stdout: f}.Run(ctx)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("compressing %s: %w", img.Path, err), os.Remove(partial))
	}
	sum, err := stage.FileDigest(partial)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("%s  %s\n", sum, filepath.Base(path))
	if err := os.WriteFile(path+".sha256", []byte(line), 0o644); err != nil {
		return err
	}
	return os.Rename(partial, path)
}
