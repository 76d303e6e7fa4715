package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/diskimage"
	"github.com/cubeos-app/releases/magefiles/internal/proof/filelist"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// Curve is what a step costs for trees of growing size.
type Curve struct {
	Step     string  `json:"step"`
	Points   []Point `json:"points"`
	Exponent float64 `json:"exponent"`
}

// Point is the cost for one tree.
type Point struct {
	Files int           `json:"files"`
	Bytes int64         `json:"bytes"`
	Took  time.Duration `json:"took"` // median
}

// The largest tree is a third of what a Raspberry Pi OS Lite holds: enough to
// tell, and done in minutes.
const smallestTree = 3_000 // files

func multiples() []int { return []int{1, 2, 4} }

// growth measures what the steps that handle whole trees cost for trees of one,
// two and four times as many files and bytes.
func growth(ctx context.Context, s *session) error {
	var samples []*sample
	for _, times := range multiples() {
		s.Log.Printf("making a tree of %d files", times*smallestTree)
		made, err := s.newSample(ctx, times*smallestTree)
		if err != nil {
			return fmt.Errorf("making a tree of %d files: %w", times*smallestTree, err)
		}
		samples = append(samples, made)
	}
	for _, step := range growthSteps() {
		took := make([][]time.Duration, len(samples))
		for round := range s.Runs {
			order := slices.Collect(indices(len(samples), round%2 == 1))
			for _, i := range order {
				s.Log.Printf("%s, %d files", step.name, samples[i].files)
				d, err := step.run(samples[i], ctx)
				if err != nil {
					return fmt.Errorf("%s, %d files: %w", step.name, samples[i].files, err)
				}
				took[i] = append(took[i], d)
			}
		}
		c := Curve{Step: step.name}
		for i, made := range samples {
			c.Points = append(c.Points, Point{made.files, made.bytes, middle(took[i])})
		}
		c.Exponent = exponent(c.Points)
		s.report.Curves = append(s.report.Curves, c)
	}
	return nil
}

type growthStep struct {
	name string
	run  func(*sample, context.Context) (time.Duration, error)
}

func growthSteps() []growthStep {
	return []growthStep{
		{"layer, finished before", (*sample).layer},
		{"list of files", (*sample).list},
		{"pack", (*sample).pack},
		{"extract", (*sample).extract},
		{"list of occupied blocks", (*sample).occupied},
		{"hash, map and compress at level 0", (*sample).finish},
	}
}

// indices yields 0 to n-1, or backwards, so that what drifts during a
// measurement does not favour one end.
func indices(n int, backwards bool) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if backwards {
				i = n - 1 - i
			}
			if !yield(i) {
				return
			}
		}
	}
}

// exponent returns e of time = c·bytes^e, as the least squares have it.
func exponent(points []Point) float64 {
	var n, x, y, xx, xy float64
	for _, p := range points {
		lx, ly := math.Log(float64(p.Bytes)), math.Log(p.Took.Seconds())
		n, x, y, xx, xy = n+1, x+lx, y+ly, xx+lx*lx, xy+lx*ly
	}
	return (n*xy - x*y) / (n*xx - x*x)
}

// sample is a generated tree, kept as a layer, with an image of it.
type sample struct {
	files int
	bytes int64
	dir   string
	store *layer.Store
	key   string
	tree  string // the layer's
	img   string
	names artifact.Names
}

func (s *session) newSample(ctx context.Context, files int) (*sample, error) {
	m := &sample{files: files, dir: filepath.Join(s.scratch.Dir, "growth", fmt.Sprint(files)), key: fmt.Sprint(files)}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if m.store, err = layer.Open(filepath.Join(m.dir, "layers"), s.Log); err != nil {
		return nil, err
	}
	m.tree, err = m.store.Layer(ctx, m.key, func(_ context.Context, d layer.Draft) error {
		m.bytes, err = generate(d.Tree, files)
		return err
	})
	if err != nil {
		return nil, err
	}
	m.names = artifact.NamesFor("growth", version)
	m.img = m.names.In(m.dir).Image
	_, err = m.pack(ctx)
	return m, err
}

func (m *sample) layer(ctx context.Context) (time.Duration, error) {
	// Only a build's first use of a layer checks it.
	if err := m.store.Close(); err != nil {
		return 0, err
	}
	return timed(func() error {
		_, err := m.store.Layer(ctx, m.key, func(context.Context, layer.Draft) error {
			return errors.New("the layer is made again")
		})
		return err
	})
}

func (m *sample) list(ctx context.Context) (took time.Duration, err error) {
	return took, withView(m.tree, filepath.Join(m.dir, "view"), func(v chroot.View) error {
		took, err = timed(func() error {
			_, err := filelist.Read(ctx, v)
			return err
		})
		return err
	})
}

// withView shows do a single tree.
func withView(tree, dir string, do func(chroot.View) error) error {
	v, err := chroot.NewView([]string{tree}, dir)
	if err != nil {
		return err
	}
	return errors.Join(do(v), v.Close())
}

func (m *sample) pack(ctx context.Context) (took time.Duration, err error) {
	if err := os.RemoveAll(m.img); err != nil {
		return 0, err
	}
	return took, withView(m.tree, filepath.Join(m.dir, "view"), func(v chroot.View) error {
		took, err = timed(func() error { return diskimage.Pack(ctx, sampleLayout(), v, m.img) })
		return err
	})
}

func sampleLayout() diskimage.Layout {
	return diskimage.Layout{
		ID: 0xc0be05, BootStart: 8 << 20, BootSize: 512 << 20, BootType: "c",
		Boot: diskimage.FAT{Label: "bootfs", ID: 0xc0be05},
		Root: diskimage.Ext4{
			Label: "rootfs", UUID: "00000000-0000-4000-8000-00000000c0be", HashSeed: "00000000-0000-4000-8000-00000000c0bf", InodeSize: "256",
			Features: []string{"has_journal", "ext_attr", "dir_index", "filetype", "extent", "flex_bg", "sparse_super", "large_file", "extra_isize", "metadata_csum"},
		},
		Headroom: 64 << 20,
		Time:     time.Unix(0, 0),
	}
}

func (m *sample) extract(ctx context.Context) (time.Duration, error) {
	table, err := diskimage.Read(ctx, m.img)
	if err != nil {
		return 0, err
	}
	boot, root, err := table.RaspberryPi()
	if err != nil {
		return 0, err
	}
	to := filepath.Join(m.dir, "extracted")
	if err := os.Mkdir(to, 0o755); err != nil {
		return 0, err
	}
	took, err := timed(func() error { return diskimage.Extract(ctx, m.img, boot, root, to, chroot.BootDir) })
	return took, errors.Join(err, os.RemoveAll(to))
}

func (m *sample) occupied(ctx context.Context) (time.Duration, error) {
	info, err := os.Stat(m.img)
	if err != nil {
		return 0, err
	}
	return timed(func() error {
		_, err := diskimage.Occupied(ctx, m.img, info.Size())
		return err
	})
}

func (m *sample) finish(ctx context.Context) (time.Duration, error) {
	return timed(func() error {
		_, err := artifact.Finish(ctx, artifact.FinishOptions{Raw: m.img, Dir: m.dir, Names: m.names, Level: 0})
		return err
	})
}
