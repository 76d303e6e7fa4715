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
	peak peak
}

// peak is the most that was seen, in bytes.
type peak struct {
	kept    int64 // in the directory that stays
	working int64 // elsewhere
	all     int64 // at one time
}

// A look at all files takes time from what is measured: at most a twentieth of
// one processor.
const (
	lookEvery = time.Second
	lookShare = 20
)

// watch begins to follow directories, and in them one whose contents stay.
func watch(kept string, dirs ...string) *usage {
	u := &usage{quit: make(chan struct{}), done: make(chan error, 1)}
	go func() { u.done <- u.follow(kept, dirs) }()
	return u
}

func (u *usage) follow(kept string, dirs []string) error {
	for {
		started := time.Now()
		if err := u.look(kept, dirs); err != nil {
			return err
		}
		select {
		case <-u.quit:
			return nil
		case <-time.After(max(lookEvery, lookShare*time.Since(started))):
		}
	}
}

func (u *usage) look(kept string, dirs []string) error {
	var all int64
	for _, dir := range dirs {
		bytes, err := blocksBelow(dir, kept)
		if err != nil {
			return err
		}
		all += bytes
	}
	stays, err := blocksBelow(kept, "")
	if err != nil {
		return err
	}
	u.peak = peak{max(u.peak.kept, stays), max(u.peak.working, all), max(u.peak.all, stays+all)}
	return nil
}

// stop ends it and returns the most that was seen.
func (u *usage) stop() (peak, error) {
	close(u.quit)
	err := <-u.done
	return u.peak, err
}

// blocksBelow adds up the blocks that files take, those with several names
// once, without those below the directory except. A directory that is not
// there yet has none.
func blocksBelow(dir, except string) (int64, error) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var bytes int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
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
		if path == except {
			return fs.SkipDir
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
