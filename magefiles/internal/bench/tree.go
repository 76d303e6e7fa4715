package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
)

// sizes is how large the files of a Debian system are, roughly: the share of
// files up to each size in bytes.
func sizes() []struct {
	share float64
	most  int
} {
	return []struct {
		share float64
		most  int
	}{{0.60, 4 << 10}, {0.30, 24 << 10}, {0.09, 200 << 10}, {0.01, 2 << 20}}
}

const (
	filesInDir   = 12
	dirsInDir    = 40
	linkEvery    = 12 // every so many files a symbolic link to one
	bootFileSize = 4 << 20
)

// generate fills a directory with files, always the same for their number, and
// returns how many bytes are in them. Half of the contents can be compressed.
func generate(dir string, files int) (int64, error) {
	random := rand.NewChaCha8([32]byte{'t', 'r', 'e', 'e'})
	choose := rand.New(random) //nolint:gosec // the same for everybody, which is the point
	const text = "The contents of a file are easy to compress.\n"
	plain := []byte(strings.Repeat(text, bootFileSize/len(text)+1)) // no file is larger
	var bytes int64
	write := func(path string, size int) error {
		data := slices.Clone(plain[:size])
		if _, err := random.Read(data[:size/2]); err != nil {
			return err
		}
		bytes += int64(size)
		return os.WriteFile(path, data, 0o644)
	}
	boot := filepath.Join(dir, chroot.BootDir)
	if err := os.MkdirAll(boot, 0o755); err != nil {
		return 0, err
	}
	if err := write(filepath.Join(boot, "kernel"), bootFileSize); err != nil {
		return 0, err
	}
	for i := range files {
		n := i / filesInDir
		in := filepath.Join(dir, "usr", fmt.Sprintf("%03d", n/dirsInDir), fmt.Sprintf("%03d", n%dirsInDir))
		if i%filesInDir == 0 {
			if err := os.MkdirAll(in, 0o755); err != nil {
				return 0, err
			}
		}
		name := fmt.Sprintf("file-%d", i)
		if err := write(filepath.Join(in, name), size(choose)); err != nil {
			return 0, err
		}
		if i%linkEvery == 0 {
			if err := os.Symlink(name, filepath.Join(in, "link")); err != nil {
				return 0, err
			}
		}
	}
	return bytes, nil
}

// size draws the size of a file.
func size(choose *rand.Rand) int {
	least, at := 0, choose.Float64()
	for _, s := range sizes() {
		if at < s.share {
			return least + choose.IntN(s.most-least)
		}
		at -= s.share
		least = s.most
	}
	return least
}
