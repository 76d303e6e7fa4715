// Package timing notes what a run spends its time on: spans, one inside the
// other, with the processor time of the programs run in each. A span belongs
// to a context; where nobody asked for a record, all of it does nothing.
package timing

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Span is a piece of work and the pieces it consists of.
type Span struct {
	Name  string        `json:"name"`
	Wall  time.Duration `json:"wall"`
	CPU   time.Duration `json:"cpu"` // of the programs run in it and in its parts
	Parts []*Span       `json:"parts,omitempty"`

	mu      *sync.Mutex // one for the whole record
	within  *Span
	started time.Time
}

type key struct{}

// Record begins a record: the span that Start's spans below the returned
// context become parts of.
func Record(ctx context.Context, name string) (context.Context, *Span) {
	s := &Span{Name: name, mu: new(sync.Mutex), started: time.Now()}
	return context.WithValue(ctx, key{}, s), s
}

// Start begins a part of the context's span. End must be called.
func Start(ctx context.Context, name string) (context.Context, *Span) {
	within, ok := ctx.Value(key{}).(*Span)
	if !ok {
		return ctx, nil
	}
	s := &Span{Name: name, mu: within.mu, within: within, started: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	within.Parts = append(within.Parts, s)
	return context.WithValue(ctx, key{}, s), s
}

// End ends a span.
func (s *Span) End() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Wall = time.Since(s.started)
}

// AddCPU adds processor time to the context's span and to those it is part of.
func AddCPU(ctx context.Context, used time.Duration) {
	s, ok := ctx.Value(key{}).(*Span)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; s != nil; s = s.within {
		s.CPU += used
	}
}

// Cost is what a span, or several of one name in one place, took outside their parts.
type Cost struct {
	Path      []string // names from below the record's own down to the span's
	Times     int
	Wall, CPU time.Duration
}

// Costs lists what a finished record consists of, dearest first. Parts that
// ran side by side can add up to more than the whole.
func (s *Span) Costs() []Cost {
	var costs []Cost
	for _, c := range s.costs(nil) {
		i := slices.IndexFunc(costs, func(other Cost) bool { return slices.Equal(other.Path, c.Path) })
		if i < 0 {
			costs = append(costs, c)
			continue
		}
		costs[i].Times++
		costs[i].Wall += c.Wall
		costs[i].CPU += c.CPU
	}
	slices.SortStableFunc(costs, func(a, b Cost) int { return cmp.Compare(b.Wall, a.Wall) })
	return costs
}

func (s *Span) costs(path []string) []Cost {
	own := Cost{Path: path, Times: 1, Wall: s.Wall, CPU: s.CPU}
	var all []Cost
	for _, p := range s.Parts {
		own.Wall -= p.Wall
		own.CPU -= p.CPU
		all = append(all, p.costs(append(slices.Clip(path), p.Name))...)
	}
	own.Wall = max(0, own.Wall)
	return append(all, own)
}

// Find returns the spans for which match is true, without looking into those.
func (s *Span) Find(match func(name string) bool) []*Span {
	var found []*Span
	for _, p := range s.Parts {
		if match(p.Name) {
			found = append(found, p)
		} else {
			found = append(found, p.Find(match)...)
		}
	}
	return found
}
