package layer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestALineOfTheListIsReadAsItWasWritten(t *testing.T) {
	for _, want := range []file{
		{path: "tree", mode: 0o40755},
		{path: "tree/a \"b\"\n\xff", mode: 0o104755, uid: 1, gid: 4294967295, size: 1 << 40, mtime: -1, ctime: 5, sum: "ab", xattrs: "user.x=00\n"},
		{path: "tree/l", mode: 0o120777, link: "to where"},
		{path: "tree/dev", mode: 0o20600, device: 0x501},
	} {
		line := want.append(nil, true)
		got, err := parseFile(string(bytes.TrimSuffix(line, []byte("\n"))))
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", line, got, err, want)
		}
	}
}

func TestALineThatIsCutOffIsNoFile(t *testing.T) {
	line := file{path: "tree/a", mode: 0o100644, sum: "ab"}.append(nil, true)
	for n := range len(line) - 1 {
		if _, err := parseFile(string(line[:n])); err == nil {
			t.Errorf("%q was read", line[:n])
		}
	}
}

// benchmarkLayer is a layer of as many files as a large installation has.
func benchmarkLayer(b *testing.B) (dir string) {
	b.Helper()
	const dirs, files, size = 200, 200, 16 << 10
	dir = b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "notes"), 0o755); err != nil {
		b.Fatal(err)
	}
	for i := range dirs {
		d := filepath.Join(dir, "tree", "usr", "share", fmt.Sprint(i))
		err := os.MkdirAll(d, 0o755)
		for j := range files {
			err = errors.Join(err, os.WriteFile(filepath.Join(d, fmt.Sprintf("file-%d.py", j)), bytes.Repeat([]byte{byte(j)}, size), 0o644))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := takeRecord(b.Context(), dir, "key"); err != nil {
		b.Fatal(err)
	}
	return dir
}

// What recording a layer of 40,000 files and 650 MB adds to making it.
func BenchmarkRecord(b *testing.B) {
	dir := benchmarkLayer(b)
	for b.Loop() {
		if err := takeRecord(b.Context(), dir, "key"); err != nil {
			b.Fatal(err)
		}
	}
}

// What each use of that layer costs.
func BenchmarkCheck(b *testing.B) {
	dir := benchmarkLayer(b)
	for b.Loop() {
		if err := check(b.Context(), dir, false); err != nil {
			b.Fatal(err)
		}
	}
}

// What reading all of it costs: mage verify:cache.
func BenchmarkVerify(b *testing.B) {
	dir := benchmarkLayer(b)
	for b.Loop() {
		if err := check(b.Context(), dir, true); err != nil {
			b.Fatal(err)
		}
	}
}
