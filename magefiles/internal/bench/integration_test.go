//go:build integration

package bench

import (
	"path/filepath"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

func TestStepsOfGrowthRunOnATree(t *testing.T) {
	s := &session{Options: Options{Profile: "lab"}, scratch: workspace.Scratch{Dir: t.TempDir()}}
	m, err := s.newSample(t.Context(), 300)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range growthSteps() {
		if took, err := step.run(m, t.Context()); err != nil || took <= 0 {
			t.Errorf("%s: took %v, %v", step.name, took, err)
		}
	}
}

func TestBothWaysMakeTheSameImageSmall(t *testing.T) {
	s := &session{Options: Options{Profile: "lab"}, scratch: workspace.Scratch{Dir: t.TempDir()}}
	m, err := s.newSample(t.Context(), 300)
	if err != nil {
		t.Fatal(err)
	}
	in, err := newPackInputs(t.Context(), m.img, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	packed, err := in.fromTree(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shrunk, err := in.inPlace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]outcome{"from the tree": packed, "in place": shrunk} {
		if o.nonZero < m.bytes || o.nonZero > o.raw || o.raw > cardSize/2 || o.xz == 0 || o.xz > o.raw {
			t.Errorf("%s: %+v for a tree of %d bytes", name, o, m.bytes)
		}
	}
	left, err := filepath.Glob(filepath.Join(in.dir, "*"))
	if err != nil || len(left) != 3 {
		t.Errorf("left behind: %v, %v; want head, tree and used", left, err)
	}
}
