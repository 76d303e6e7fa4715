package bench

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

func TestRunRefusesWhatItDoesNotKnow(t *testing.T) {
	for want, o := range map[string]Options{
		"builds, profile, pack, growth, native": {Only: "fast", Runs: 1},
		"-runs=0":                               {Only: "growth"},
	} {
		report, err := Run(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) || report.Markdown() != "" {
			t.Errorf("got %q, %v, want nothing and %q", report.Markdown(), err, want)
		}
	}
}

func TestMiddle(t *testing.T) {
	for _, c := range []struct {
		all  []time.Duration
		want time.Duration
	}{{[]time.Duration{7}, 7}, {[]time.Duration{9, 1, 5}, 5}, {[]time.Duration{4, 2}, 3}} {
		if got := middle(c.all); got != c.want {
			t.Errorf("middle of %v is %v, want %v", c.all, got, c.want)
		}
	}
}

func TestExponent(t *testing.T) {
	for _, want := range []float64{0, 1, 2} {
		var points []Point
		for _, size := range []int64{100, 200, 400} {
			points = append(points, Point{Bytes: size, Took: time.Duration(1e6 * math.Pow(float64(size), want))})
		}
		if got := exponent(points); math.Abs(got-want) > 0.001 {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestIndicesRunBothWays(t *testing.T) {
	for backwards, want := range map[bool][]int{false: {0, 1, 2}, true: {2, 1, 0}} {
		var got []int
		for i := range indices(3, backwards) {
			got = append(got, i)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestGeneratedTreesAreTheSameAndGrow(t *testing.T) {
	dir := t.TempDir()
	tree := func(name string, files int) (digest string, bytes int64) {
		t.Helper()
		tree := filepath.Join(dir, name)
		bytes, err := generate(tree, files)
		if err != nil {
			t.Fatal(err)
		}
		digest, err = stage.TreeDigest(tree)
		if err != nil {
			t.Fatal(err)
		}
		return digest, bytes - bootFileSize
	}
	first, bytes := tree("first", 500)
	second, _ := tree("second", 500)
	if first != second {
		t.Error("two trees of as many files differ")
	}
	if _, twice := tree("twice", 1000); twice < bytes*3/2 || twice > bytes*5/2 {
		t.Errorf("twice as many files have %d bytes, not about twice %d", twice, bytes)
	}
}

func TestBlocksBelowCountsWhatIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	empty, err := blocksBelow(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := os.WriteFile(data, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(data, filepath.Join(dir, "same")); err != nil {
		t.Fatal(err)
	}
	hole := filepath.Join(dir, "hole")
	if err := os.WriteFile(hole, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(hole, 1<<30); err != nil {
		t.Fatal(err)
	}
	if got, err := blocksBelow(dir, ""); err != nil || got-empty < 1<<20 || got-empty > 1<<20+64<<10 {
		t.Errorf("got %d bytes, %v; want those of one file of 1 MiB", got-empty, err)
	}
}

func TestWatchSeesWhatIsGoneAtTheEnd(t *testing.T) {
	other := t.TempDir()
	kept := filepath.Join(other, "kept")
	if err := os.Mkdir(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	var p peak
	var err error
	synctest.Test(t, func(t *testing.T) {
		u := watch(kept, other, filepath.Join(other, "not there"))
		for dir, size := range map[string]int{kept: 2 << 20, other: 1 << 20} {
			if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, size), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(lookEvery + lookEvery/2)
		for _, dir := range []string{kept, other} {
			if err := os.Remove(filepath.Join(dir, "x")); err != nil {
				t.Fatal(err)
			}
		}
		p, err = u.stop()
	})
	if err != nil || p.kept < 2<<20 || p.working < 1<<20 || p.working > 2<<20 || p.all < 3<<20 {
		t.Errorf("got %+v, %v; there were files of 2 MiB and 1 MiB", p, err)
	}
}

func TestNonZero(t *testing.T) {
	img := filepath.Join(t.TempDir(), "img")
	content := make([]byte, 5*4096)
	content[4096], content[3*4096+17] = 1, 1
	if err := os.WriteFile(img, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 1<<30); err != nil {
		t.Fatal(err)
	}
	if n, err := nonZero(img); err != nil || n != 2*4096 {
		t.Errorf("got %d bytes, %v; want two blocks", n, err)
	}
}

func TestCopyCheckoutBringsUncommittedChanges(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	script := `git init -q "$1"; cd "$1"
git config user.email t@example.org; git config user.name t
printf 'one\n' >script; printf 'kept\n' >other; git add .; git commit -qm first`
	if out, err := exec.Command("sh", "-euc", script, "sh", from).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	check := func(want string) {
		t.Helper()
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := copyCheckout(t.Context(), from, to); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(to, "script")); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	check("one\n")
	if err := os.WriteFile(filepath.Join(from, "script"), []byte("two\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	check("two\n")
}

func TestMarkdown(t *testing.T) {
	r := Report{
		Profile: "lab", Commit: "abc", Machine: Machine{CPU: "x", Processors: 2, Memory: 8 << 30, Kernel: "6.1", FileSystem: "ext4"},
		Curves: []Curve{{"pack", []Point{{10, 2e6, 1500 * time.Millisecond}, {20, 4e6, 3 * time.Second}}, 1}},
		ColdBuild: &timing.Span{Name: "build", Wall: 100 * time.Second, CPU: 85 * time.Second, Parts: []*timing.Span{
			{Name: "image", Wall: 90 * time.Second, CPU: 80 * time.Second},
			{Name: "small", Wall: time.Millisecond},
		}},
	}
	r.add(
		Row{What: "warm", Measured: seconds(400 * time.Millisecond), Reference: "cold build", Other: seconds(100 * time.Second), Target: 0.01, Runs: 3},
		Row{What: "peak", Measured: bytesOf(8e9), Reference: "image", Other: bytesOf(2e9), Target: 3},
	)
	want := `Profile lab at abc, on 2 processors (x), 8GiB of memory, Linux 6.1, ext4.
The page cache is warm: each thing was written or read just before it was measured. Only the cold build downloads from the mirror.

| what | measured | compared with |         | ratio | target |        | runs |
| ---- | -------- | ------------- | ------- | ----- | ------ | ------ | ---- |
| warm | 400 ms   | cold build    | 100.0 s | 0.004 | ≤ 0.01 | met    | 3    |
| peak | 8GB      | image         | 2GB     | 4.000 | ≤ 3    | missed | 1    |

Cost as the tree grows. The exponent is the slope of a line through the logarithms: 1 is in proportion to the tree.

| step | 10 files, 2MB | 20 files, 4MB | exponent |
| ---- | ------------- | ------------- | -------- |
| pack | 1.5 s         | 3.0 s         | 1.00     |

What a cold build of 100.0 s is spent on. CPU is that of the programs run.

| step                | time   | share  | CPU    |
| ------------------- | ------ | ------ | ------ |
| image               | 90.0 s | 90.0 % | 80.0 s |
| between the steps   | 10.0 s | 10.0 % | 5.0 s  |
| all that takes less | 1 ms   | 0.0 %  | 0 µs   |
`
	if diff := cmp.Diff(want, r.Markdown()); diff != "" {
		t.Error(diff)
	}
}
