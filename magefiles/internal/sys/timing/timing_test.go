package timing

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWithoutARecordNothingHappens(t *testing.T) {
	ctx, s := Start(t.Context(), "x")
	AddCPU(ctx, time.Second)
	s.End()
	if ctx != t.Context() || s != nil {
		t.Errorf("got a span %v that nobody asked for", s)
	}
}

func TestProcessorTimeCountsForAllSpansAround(t *testing.T) {
	ctx, root := Record(t.Context(), "build")
	outer, a := Start(ctx, "a")
	inner, b := Start(outer, "b")
	_, c := Start(ctx, "c")
	AddCPU(inner, time.Second)
	AddCPU(outer, time.Minute)
	for _, s := range []*Span{b, a, c, root} {
		s.End()
	}
	got := map[string]time.Duration{}
	for _, s := range []*Span{root, a, b, c} {
		got[s.Name] = s.CPU
	}
	want := map[string]time.Duration{"build": 61 * time.Second, "a": 61 * time.Second, "b": time.Second, "c": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if root.Wall < a.Wall || a.Wall < b.Wall || b.Wall <= 0 {
		t.Errorf("a part took longer than the whole: %v, %v, %v", root.Wall, a.Wall, b.Wall)
	}
}

func TestCostsLeaveOutPartsAndAddUpRepetitions(t *testing.T) {
	record := &Span{Name: "build", Wall: 20, CPU: 8, Parts: []*Span{
		{Name: "a", Wall: 6, CPU: 5, Parts: []*Span{{Name: "b", Wall: 5, CPU: 3}}},
		{Name: "side by side", Wall: 3, CPU: 0, Parts: []*Span{{Name: "x", Wall: 2}, {Name: "y", Wall: 2}}},
		{Name: "a", Wall: 9, CPU: 1, Parts: []*Span{{Name: "b", Wall: 3, CPU: 1}}},
	}}
	want := []Cost{
		{[]string{"a", "b"}, 2, 8, 4},
		{[]string{"a"}, 2, 7, 2},
		{[]string{"side by side", "x"}, 1, 2, 0},
		{[]string{"side by side", "y"}, 1, 2, 0},
		{nil, 1, 2, 2},
		{[]string{"side by side"}, 1, 0, 0},
	}
	if diff := cmp.Diff(want, record.Costs()); diff != "" {
		t.Error(diff)
	}
}

func TestFindStopsAtAMatch(t *testing.T) {
	ctx, root := Record(context.Background(), "build")
	outer, a := Start(ctx, "provisioner 1")
	_, b := Start(outer, "provisioner 1, again")
	_, c := Start(ctx, "pack")
	for _, s := range []*Span{b, a, c, root} {
		s.End()
	}
	got := root.Find(func(name string) bool { return name != "pack" })
	if len(got) != 1 || got[0] != a {
		t.Errorf("got %v", got)
	}
}
