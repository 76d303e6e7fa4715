package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/proof/filelist"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
)

// compareImages returns an error that says where two raw images differ. dir is
// for mount points.
func compareImages(ctx context.Context, first, second, dir string, log *progress.Reporter) error {
	x, err := stage.FileDigest(first)
	if err != nil {
		return err
	}
	y, err := stage.FileDigest(second)
	if err != nil {
		return err
	}
	log.Printf("sha256 of the raw image: first %s, second %s", x, y)
	if x == y {
		return nil
	}
	var lists [2]filelist.List
	for i, img := range []string{first, second} {
		if lists[i], err = readImage(ctx, img, filepath.Join(dir, fmt.Sprint("files-", i+1))); err != nil {
			return err
		}
	}
	if err := filelist.Compare(lists[0], lists[1]); err != nil {
		return fmt.Errorf("the two builds are not the same; %w", err)
	}
	offset, err := firstDifference(first, second)
	if err != nil {
		return err
	}
	where, err := diskimage.Locate(ctx, first, offset)
	return errors.Join(fmt.Errorf("the two builds hold the same files, but from byte %d on they differ: %s", offset, where), err)
}

func readImage(ctx context.Context, img, mounts string) (filelist.List, error) {
	if err := os.Mkdir(mounts, 0o755); err != nil {
		return nil, err
	}
	files, err := diskimage.OpenFiles(ctx, img, mounts)
	if err != nil {
		return nil, err
	}
	return filelist.Read(ctx, files)
}

// firstDifference returns where the contents of two files begin to differ, which
// is the length of the shorter one if nothing else does.
func firstDifference(a, b string) (int64, error) {
	x, err := os.Open(a)
	if err != nil {
		return 0, err
	}
	defer x.Close()
	y, err := os.Open(b)
	if err != nil {
		return 0, err
	}
	defer y.Close()
	inX, inY := make([]byte, 1<<20), make([]byte, 1<<20)
	for offset := int64(0); ; offset += int64(len(inX)) {
		n, err := fill(x, inX)
		if err != nil {
			return 0, err
		}
		m, err := fill(y, inY)
		if err != nil {
			return 0, err
		}
		if n == len(inX) && bytes.Equal(inX, inY[:m]) {
			continue
		}
		same := 0
		for same < min(n, m) && inX[same] == inY[same] {
			same++
		}
		return offset + int64(same), nil
	}
}

// fill reads as much as there is and fits.
func fill(r io.Reader, buf []byte) (int, error) {
	n, err := io.ReadFull(r, buf)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return n, err
}
