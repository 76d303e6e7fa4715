package bench

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// usage follows the space that the files below directories take. The blocks of
// every file are added up, rather than asking the file system, since others
// may be writing to it as well.
type usage struct {
	quit chan struct{}
	done chan error
	peak int64
}

// A look at all files takes time from what is measured: at most a twentieth of
// one processor.
const (
	lookEvery = time.Second
	lookShare = 20
)

func watch(dirs ...string) *usage {
	u := &usage{quit: make(chan struct{}), done: make(chan error, 1)}
	go func() { u.done <- u.follow(dirs) }()
	return u
}

func (u *usage) follow(dirs []string) error {
	for {
		started := time.Now()
		var total int64
		for _, dir := range dirs {
			bytes, err := blocksBelow(dir)
			if err != nil {
				return err
			}
			total += bytes
		}
		u.peak = max(u.peak, total)
		select {
		case <-u.quit:
			return nil
		case <-time.After(max(lookEvery, lookShare*time.Since(started))):
		}
	}
}

// stop returns the most that was seen.
func (u *usage) stop() (int64, error) {
	close(u.quit)
	err := <-u.done
	return u.peak, err
}

// blocksBelow adds up the blocks that files take, those with several names
// once. A directory that is not there yet has none.
func blocksBelow(dir string) (int64, error) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var bytes int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed since its directory was read
		}
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if !info.IsDir() && st.Nlink > 1 {
			id := inode{uint64(st.Dev), st.Ino}
			if seen[id] {
				return nil
			}
			seen[id] = true
		}
		bytes += st.Blocks * 512
		return nil
	})
	return bytes, err
}

// allocated returns the bytes that a file takes on disk.
func allocated(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512, nil
}
