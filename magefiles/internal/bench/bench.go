// Package bench measures the build against itself and against what people
// would otherwise do. What it states are ratios of two measurements of one run
// on one machine; the times beside them are that machine's.
package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// Options say what to measure.
type Options struct {
	workspace.Workspace
	Profile string
	Only    string // the name of one part, or "" for all
	Runs    int    // of what takes seconds; builds from nothing run once
}

// part measures one thing and adds what it found to the session's report.
type part struct {
	name string
	run  func(context.Context, *session) error
}

// parts are in the order in which they run, the longest last.
func parts() []part {
	return []part{
		{"builds", builds},
		{"profile", profile},
		{"pack", pack},
		{"growth", growth},
		{"native", natively},
	}
}

// choose returns the part with the given name, or all for "".
func choose(only string) ([]part, error) {
	if only == "" {
		return parts(), nil
	}
	var names []string
	for _, p := range parts() {
		if p.name == only {
			return []part{p}, nil
		}
		names = append(names, p.name)
	}
	return nil, fmt.Errorf("there is no benchmark %q: choose one of %s, or leave -only out for all", only, strings.Join(names, ", "))
}

// Run measures what the options ask for. All it makes is in a scratch
// directory, with a copy of the checkout and caches of its own, that is gone
// when it returns. With an error it returns what it had found until then.
func Run(ctx context.Context, o Options) (report Report, err error) {
	chosen, err := choose(o.Only)
	if err != nil {
		return report, err
	}
	if o.Runs < 1 {
		return report, fmt.Errorf("-runs=%d: want at least 1", o.Runs)
	}
	s, err := open(ctx, o)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, s.scratch.Remove()) }()
	if s.report, err = newReport(ctx, o); err != nil {
		return report, err
	}
	for _, p := range chosen {
		o.Log.Printf("benchmark: %s", p.name)
		if err := p.run(ctx, s); err != nil {
			return s.report, fmt.Errorf("benchmark %s: %w", p.name, err)
		}
	}
	s.report.Took = time.Since(s.report.Started)
	return s.report, nil
}

// median calls measure n times and returns the median of what it returns.
func median(n int, measure func() (time.Duration, error)) (time.Duration, error) {
	var all []time.Duration
	for range n {
		d, err := measure()
		if err != nil {
			return 0, err
		}
		all = append(all, d)
	}
	return middle(all), nil
}

// middle returns the median.
func middle(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func timed(do func() error) (time.Duration, error) {
	started := time.Now()
	err := do()
	return time.Since(started), err
}
