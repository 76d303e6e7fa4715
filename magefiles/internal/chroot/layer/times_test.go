package layer

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestForgetTime(t *testing.T) {
	tree := t.TempDir()
	since := time.Now().Truncate(time.Second)
	old, made := filepath.Join(tree, "old"), filepath.Join(tree, "made")
	for path, at := range map[string]time.Time{old: since.Add(-time.Nanosecond), made: since, filepath.Join(tree, "closed/later"): since.Add(time.Hour)} {
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, nil, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, at); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(tree, "closed/link")
	if err := os.Symlink(old, link); err != nil {
		t.Fatal(err)
	}
	if err := forgetTime(tree, since); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int64{old: since.Unix() - 1, made: BuildTime, filepath.Join(tree, "closed/later"): BuildTime, link: BuildTime, tree: BuildTime} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.ModTime().Unix(); got != want {
			t.Errorf("%s: time %d, want %d", path, got, want)
		}
	}
}
