package boottest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// moment is a power cut: what was on the card, and when.
type moment struct {
	disk string // file in the recorded device's directory
	at   time.Duration
}

// playCuts boots a device once and keeps its disk at random moments, as a power
// cut would leave it. Each of those that are chosen is then booted on a device of
// its own. So the first part of twenty boots is emulated only once.
func (s *session) playCuts(ctx context.Context, sc Scenario, out *Outcome) {
	d, err := s.flashed(ctx, sc)
	if err != nil {
		out.broken(sc.Phases, fmt.Errorf("preparing the device: %w", err))
		return
	}
	out.Machine = d.describe()
	moments, err := s.record(ctx, d, sc.Cuts)
	if err != nil {
		out.broken(sc.Phases, fmt.Errorf("recording moments of the first boot: %w", err))
		return
	}
	chosen := choose(moments, sc.Cuts.Moments)
	parts := make([]*Outcome, len(chosen))
	var g errgroup.Group
	g.SetLimit(s.o.Jobs)
	for i, at := range chosen {
		g.Go(func() error {
			parts[i] = s.bootAfterCut(ctx, sc, d, i+1, at)
			return nil
		})
	}
	_ = g.Wait() // what failed is in the outcomes
	out.Parts = parts
	if out.Passed() || ctx.Err() != nil {
		if err := os.RemoveAll(d.spec.Dir); err != nil {
			s.o.Reporter.Printf("%v", err)
		}
	}
}

func (s *session) bootAfterCut(ctx context.Context, sc Scenario, recorded *device, n int, at moment) *Outcome {
	part := &Outcome{
		Scenario: fmt.Sprintf("%s-%02d", sc.Name, n), About: fmt.Sprintf("power cut %.1f s after it came", at.at.Seconds()),
		Started: time.Now(),
	}
	defer func() { part.Took = time.Since(part.Started) }()
	d, err := recorded.over(ctx, s.machineDir(part.Scenario), at.disk)
	if err != nil {
		part.broken(sc.Phases, fmt.Errorf("preparing the device: %w", err))
		return part
	}
	d.evidence = filepath.Join(s.o.WorkDir, sc.Name, fmt.Sprintf("%02d", n))
	d.spec.Capture = ""
	part.Machine = d.describe()
	phases := make([]Phase, len(sc.Phases))
	copy(phases, sc.Phases)
	for i := range phases {
		phases[i].Name = fmt.Sprintf("%s after a cut at %.1f s", phases[i].Name, at.at.Seconds())
	}
	s.live(ctx, d, phases, part)
	return part
}

// Between two moments that are recorded; random, so that they fall on no rhythm.
const (
	shortest = 1 * time.Second
	longest  = 4 * time.Second
)

// record boots a device until the console shows what ends it, keeping its disk
// every few seconds.
func (s *session) record(ctx context.Context, d *device, cuts *PowerCuts) (_ []moment, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lifeBound, fmt.Errorf("the console did not show %q within %s", cuts.Until, lifeBound))
	defer cancel()
	m, err := d.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	task := s.o.Reporter.Task("recording moments to cut the power at", 0)
	defer task.End()
	d.showing.Store(task)
	defer d.showing.Store(nil)
	began, last := time.Now(), m.Console.Expect(cuts.Until)
	var moments []moment
	for disk := d.spec.Disk; ; {
		pause := shortest + rand.N(longest-shortest) //nolint:gosec // no secret
		waited, stop := m.Within(ctx, pause)
		_, err := last.Wait(waited)
		stop()
		if err == nil {
			return moments, nil
		}
		if m.Context().Err() != nil {
			return nil, context.Cause(m.Context())
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		next := fmt.Sprintf("cut-%03d.qcow2", len(moments)+1)
		if err := m.KeepDisk(ctx, next); err != nil {
			return nil, err
		}
		moments = append(moments, moment{disk: disk, at: time.Since(began)})
		disk = next
	}
}

// choose takes n moments at random, spread over the whole time: one of each nth.
func choose(moments []moment, n int) []moment {
	n = min(n, len(moments))
	chosen := make([]moment, n)
	for i := range chosen {
		from, to := i*len(moments)/n, (i+1)*len(moments)/n
		chosen[i] = moments[from+rand.IntN(to-from)] //nolint:gosec // no secret
	}
	return chosen
}
