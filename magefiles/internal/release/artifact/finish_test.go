package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
)

const mib = 1 << 20

// sparseImage makes a raw image of size bytes with random data at some places.
func sparseImage(t testing.TB, size int64, data ...diskimage.Range) string {
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
	return FinishOptions{Raw: raw, Dir: t.TempDir(), Names: NamesFor("cubeos-lab", "1.2.3"), Level: 0}
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

func span(start, end int64) diskimage.Range { return diskimage.Range{Start: start, End: end} }

func TestBlockRanges(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []diskimage.Range
		size int64
		want []diskimage.Range
	}{
		"none":               {nil, 8192, nil},
		"widened":            {[]diskimage.Range{span(5000, 5001)}, 1 << 20, []diskimage.Range{span(4096, 8192)}},
		"cut at the end":     {[]diskimage.Range{span(4096, 1<<30)}, 8192 + 512, []diskimage.Range{span(4096, 8704)}},
		"outside":            {[]diskimage.Range{span(1<<20, 1<<21), span(-10, 0)}, 8192, nil},
		"merged and sorted":  {[]diskimage.Range{span(20000, 20001), span(0, 1), span(4095, 4097)}, 1 << 20, []diskimage.Range{span(0, 8192), span(16384, 20480)}},
		"one within another": {[]diskimage.Range{span(0, 40960), span(4096, 8192)}, 1 << 20, []diskimage.Range{span(0, 40960)}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, blockRanges(tt.in, tt.size)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestXZArgv(t *testing.T) {
	want := []string{"xz", "--compress", "--stdout", "--format=xz", "--check=crc64", "--threads=0", "-9"}
	if diff := cmp.Diff(want, xzArgv(9)); diff != "" {
		t.Error(diff)
	}
}

func TestFinishRefuses(t *testing.T) {
	whole := sparseImage(t, mib, span(0, 512))
	for name, tt := range map[string]struct {
		change func(*FinishOptions)
		want   []string
	}{
		"all bad options at once": {func(o *FinishOptions) { o.Level, o.Names.XZ, o.Dir = 10, "../x", "/no/such" }, []string{"level 10", "../x", "/no/such"}},
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

// noHoles is a raw image that must not be read where it has holes.
type noHoles struct {
	content []byte
	data    []diskimage.Range
}

func (n noHoles) ReadAt(p []byte, at int64) (int, error) {
	for _, r := range n.data {
		if at >= r.Start && at+int64(len(p)) <= r.End {
			return copy(p, n.content[at:]), nil
		}
	}
	return 0, fmt.Errorf("%d bytes of a hole were read", len(p))
}

func TestCopyImage(t *testing.T) {
	const size = 5*mib + 512
	content := make([]byte, size)
	data := []diskimage.Range{span(4096, 8192), span(mib, 3*mib), span(5*mib, size)}
	for _, r := range data {
		for i := r.Start; i < r.End; i++ {
			content[i] = byte(i%251) + 1
		}
	}
	var got bytes.Buffer
	sums, err := copyImage(t.Context(), &got, noHoles{content, data}, size, data)
	if err != nil || !bytes.Equal(got.Bytes(), content) {
		t.Fatalf("the copy differs, or %v", err)
	}
	var want []mappedRange
	for _, r := range data {
		want = append(want, mappedRange{r, sha256Hex(content[r.Start:r.End])})
	}
	if diff := cmp.Diff(want, sums); diff != "" {
		t.Error(diff)
	}

	if _, err := copyImage(t.Context(), io.Discard, noHoles{content, nil}, size, data); err == nil || !strings.Contains(err.Error(), "at byte 4096") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stopped by hand"))
	if _, err := copyImage(ctx, io.Discard, noHoles{content, data}, size, data); err == nil || err.Error() != "stopped by hand" {
		t.Errorf("got %v", err)
	}
}

func TestRenderBlockMap(t *testing.T) {
	got := string(renderBlockMap(10*blockSize+512, []mappedRange{{span(0, blockSize), "aa"}, {span(2*blockSize, 5*blockSize), "bb"}, {span(10*blockSize, 10*blockSize+512), "cc"}}))
	for _, want := range []string{
		"<ImageSize> 41472 </ImageSize>", "<BlocksCount> 11 </BlocksCount>", "<MappedBlocksCount> 5 </MappedBlocksCount>",
		`<Range chksum="aa"> 0 </Range>`, `<Range chksum="bb"> 2-4 </Range>`, `<Range chksum="cc"> 10 </Range>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
	}
	sum := regexp.MustCompile(`[0-9a-f]{64}`).FindString(got)
	if blank := strings.Replace(got, sum, strings.Repeat("0", 64), 1); sha256Hex([]byte(blank)) != sum {
		t.Errorf("the file's own sum is not %s", sum)
	}
}

func TestDataRanges(t *testing.T) {
	f, err := os.Open(sparseImage(t, 8*mib, span(mib, 2*mib), span(8*mib-512, 8*mib)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := dataRanges(f, 8*mib)
	if err != nil {
		t.Fatal(err)
	}
	// File systems round data up to their blocks, never down.
	covered := func(r diskimage.Range) bool {
		for _, g := range got {
			if g.Start <= r.Start && r.End <= g.End {
				return true
			}
		}
		return false
	}
	if !covered(span(mib, 2*mib)) || !covered(span(8*mib-512, 8*mib)) {
		t.Errorf("got %v", got)
	}
	if got, err := dataRanges(f, mib); err != nil || len(got) > 1 {
		t.Errorf("of the part before the data: %v, %v", got, err)
	}
}
