package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/docker/go-units"

	"github.com/cubeos-app/releases/magefiles/internal/sys/ctxio"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Verify reads the build manifest and checks the files it describes, which lie
// beside it, against it. The raw image may have been removed; the others have
// to be there. All differences are reported at once.
func Verify(ctx context.Context, manifestPath string, out *progress.Reporter) (Manifest, error) {
	m, err := ReadManifest(manifestPath)
	if err != nil {
		return Manifest{}, err
	}
	paths := m.Paths(manifestPath)
	var problems []error
	for _, f := range []struct {
		path     string
		want     File
		optional bool
	}{{paths.XZ, m.Compressed, false}, {paths.BlockMap, m.BlockMap, false}, {paths.Image, m.RawImage, true}} {
		err := verifyFile(ctx, f.path, f.want, out)
		if ctx.Err() != nil {
			return Manifest{}, context.Cause(ctx)
		}
		if f.optional && errors.Is(err, os.ErrNotExist) {
			continue
		}
		problems = append(problems, err)
	}
	want := m.Compressed.SHA256 + "  " + m.Compressed.Name + "\n"
	if got, err := os.ReadFile(paths.Checksum); err != nil {
		problems = append(problems, fmt.Errorf("reading the checksum: %w", err))
	} else if string(got) != want {
		problems = append(problems, fmt.Errorf("%s says %q, the build manifest %q", paths.Checksum, got, want))
	}
	if err := errors.Join(problems...); err != nil {
		return Manifest{}, fmt.Errorf("the artifacts are not what %s describes: %w", manifestPath, err)
	}
	return m, nil
}

func verifyFile(ctx context.Context, path string, want File, out *progress.Reporter) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != want.Size {
		return fmt.Errorf("%s has %d bytes, not %d", path, info.Size(), want.Size)
	}
	task := out.Task("verifying "+want.Name, want.Size)
	defer task.End()
	sum := sha256.New()
	if _, err := io.Copy(ctxio.Writer(ctx, io.MultiWriter(sum, task)), f); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("%s has the SHA-256 %s, not %s", path, got, want.SHA256)
	}
	return nil
}

// GitHubAssetLimit is the size at which GitHub refuses a file of a release.
const GitHubAssetLimit = 2 << 30

// CheckAssets refuses files of limit bytes or more, all at once.
func CheckAssets(limit int64, paths ...string) error {
	var problems []error
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("looking at the release file: %w", err))
		case info.Size() >= limit:
			problems = append(problems, fmt.Errorf("%s has %s: a release takes only files under %s; carry less in the image, or compress it with a higher level",
				filepath.Base(path), units.BytesSize(float64(info.Size())), units.BytesSize(float64(limit))))
		}
	}
	return errors.Join(problems...)
}
