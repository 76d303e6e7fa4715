package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const mib = 1 << 20

// sparseImage makes a raw image of size bytes with random data at some places.
func sparseImage(t testing.TB, size int64, data ...Range) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raw.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{7})
	for _, r := range data {
		if _, err := io.CopyN(io.NewOffsetWriter(f, r.Start), random, r.End-r.Start); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func options(t testing.TB, raw string) FinishOptions {
	t.Helper()
	names, err := NamesFor("lab", "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	return FinishOptions{Raw: raw, Dir: t.TempDir(), Names: names, Level: 0}
}

func fileSum(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func listing(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func run(t testing.TB, dir string, argv ...string) string {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("%s is not installed", argv[0])
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

func TestFinishRoundTrip(t *testing.T) {
	const size = 256*mib + 512
	raw := sparseImage(t, size, Range{0, 440}, Range{5*mib + 4000, 9*mib + 1}, Range{200 * mib, 200*mib + 5000}, Range{size - 512, size})
	o := options(t, raw)
	// An earlier run's files are replaced.
	if err := os.WriteFile(o.Names.In(o.Dir).XZ, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	result, err := Finish(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	paths := o.Names.In(o.Dir)
	if diff := cmp.Diff([]string{o.Names.BlockMap, o.Names.XZ, o.Names.Checksum}, listing(t, o.Dir)); diff != "" {
		t.Error(diff)
	}
	want := Result{
		Raw:      File{o.Names.Image, size, fileSum(t, raw)},
		XZ:       File{o.Names.XZ, fileSize(t, paths.XZ), fileSum(t, paths.XZ)},
		BlockMap: File{o.Names.BlockMap, fileSize(t, paths.BlockMap), fileSum(t, paths.BlockMap)},
	}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Error(diff)
	}
	t.Run("sha256sum reads the checksum", func(t *testing.T) {
		run(t, o.Dir, "sha256sum", "--strict", "-c", o.Names.Checksum)
	})
	t.Run("xz restores the image", func(t *testing.T) {
		run(t, o.Dir, "sh", "-c", `xz -dc "$1" | cmp - "$2"`, "sh", o.Names.XZ, raw)
	})
	t.Run("bmaptool writes the image", func(t *testing.T) {
		card := filepath.Join(t.TempDir(), "card")
		run(t, o.Dir, "bmaptool", "copy", "--bmap", o.Names.BlockMap, o.Names.XZ, card)
		if got := fileSum(t, card); got != result.Raw.SHA256 {
			t.Error("the card does not hold the image")
		}
	})
	t.Run("bmaptool notices a changed image", func(t *testing.T) {
		changed := sparseImage(t, size, Range{0, 440}, Range{6 * mib, 6*mib + 1})
		cmd := exec.Command("bmaptool", "copy", "--bmap", paths.BlockMap, changed, filepath.Join(t.TempDir(), "card"))
		if out, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
			t.Skip("bmaptool is not installed")
		} else if err == nil || !strings.Contains(string(out), "checksum mismatch") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("the same image gives the same files", func(t *testing.T) {
		o := o
		o.Dir = t.TempDir()
		again, err := Finish(t.Context(), o)
		if diff := cmp.Diff(result, again); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
}

func fileSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// A card is not empty: what has to be zero must be written where it was not.
func TestBlockMapKeepsZerosThatMatter(t *testing.T) {
	raw := sparseImage(t, 4*mib, Range{0, 512})
	o := options(t, raw)
	o.Zeros = []Range{{mib, mib + 8192}}
	if _, err := Finish(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	card := filepath.Join(t.TempDir(), "card")
	if err := os.WriteFile(card, bytes.Repeat([]byte{0xff}, 4*mib), 0o644); err != nil {
		t.Fatal(err)
	}
	blockMap, err := os.ReadFile(o.Names.In(o.Dir).BlockMap)
	if err != nil {
		t.Fatal(err)
	}
	ranges := regexp.MustCompile(`> ([0-9-]+) </Range>`).FindAllStringSubmatch(string(blockMap), -1)
	if diff := cmp.Diff([][]string{{"> 0 </Range>", "0"}, {"> 256-257 </Range>", "256-257"}}, ranges); diff != "" {
		t.Error(diff)
	}
}

func TestBlockRanges(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []Range
		size int64
		want []Range
	}{
		"none":               {nil, 8192, nil},
		"widened":            {[]Range{{5000, 5001}}, 1 << 20, []Range{{4096, 8192}}},
		"cut at the end":     {[]Range{{4096, 1 << 30}}, 8192 + 512, []Range{{4096, 8704}}},
		"outside":            {[]Range{{1 << 20, 1 << 21}, {-10, 0}}, 8192, nil},
		"merged and sorted":  {[]Range{{20000, 20001}, {0, 1}, {4095, 4097}}, 1 << 20, []Range{{0, 8192}, {16384, 20480}}},
		"one within another": {[]Range{{0, 40960}, {4096, 8192}}, 1 << 20, []Range{{0, 40960}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, blockRanges(tt.in, tt.size)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestXZArgv(t *testing.T) {
	want := []string{"xz", "--compress", "--stdout", "--format=xz", "--check=crc64", "--threads=2", "-9"}
	if diff := cmp.Diff(want, xzArgv(9, 2)); diff != "" {
		t.Error(diff)
	}
}

func TestFinishRefuses(t *testing.T) {
	whole := sparseImage(t, mib, Range{0, 512})
	for name, tt := range map[string]struct {
		change func(*FinishOptions)
		want   []string
	}{
		"all bad options at once": {func(o *FinishOptions) { o.Level, o.Threads, o.Names.XZ, o.Dir = 10, -1, "../x", "/no/such" }, []string{"level 10", "-1 compression", "../x", "/no/such"}},
		"a missing image":         {func(o *FinishOptions) { o.Raw = "/no/such" }, []string{"/no/such"}},
		"a broken sector":         {func(o *FinishOptions) { o.Raw = sparseImage(t, mib+1) }, []string{"512"}},
		"an empty image":          {func(o *FinishOptions) { o.Raw = sparseImage(t, 0) }, []string{"0 bytes"}},
		"a directory as image":    {func(o *FinishOptions) { o.Raw = t.TempDir() }, []string{"want a file"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, whole)
			dir := o.Dir
			tt.change(&o)
			_, err := Finish(t.Context(), o)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
			if left := listing(t, dir); len(left) > 0 {
				t.Errorf("left %s", left)
			}
		})
	}
}

func TestFinishCancelled(t *testing.T) {
	raw := sparseImage(t, 64*mib, Range{0, 64 * mib})
	o := options(t, raw)
	o.Level = 9
	if err := os.WriteFile(o.Names.In(o.Dir).XZ, []byte("an earlier run's"), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("stopped by hand"))
	defer cancel()
	started := time.Now()
	if _, err := Finish(ctx, o); err == nil || !strings.Contains(err.Error(), "stopped by hand") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %s to stop", took)
	}
	if diff := cmp.Diff([]string{o.Names.XZ}, listing(t, o.Dir)); diff != "" {
		t.Error(diff)
	}
}

// A file that shrinks while it is read stands for a failing disk.
func TestFinishReadError(t *testing.T) {
	raw := sparseImage(t, 64*mib, Range{0, 64 * mib})
	o := options(t, raw)
	time.AfterFunc(300*time.Millisecond, func() { _ = os.Truncate(raw, mib) })
	if _, err := Finish(t.Context(), o); err == nil || !strings.Contains(err.Error(), "reading the raw image at byte") {
		t.Errorf("got %v", err)
	}
	if left := listing(t, o.Dir); len(left) > 0 {
		t.Errorf("left %s", left)
	}
}

func TestFinishNeedsLittleMemory(t *testing.T) {
	raw := sparseImage(t, 256*mib, Range{0, 4 * mib}, Range{100 * mib, 110 * mib})
	o := options(t, raw)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Finish(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8*mib {
		t.Errorf("allocated %d bytes for an image of 256 MiB", allocated)
	}
}
