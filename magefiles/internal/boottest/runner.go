package boottest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// runner asks checks, and writes down and shows what it is told.
type runner struct {
	log    *progress.Reporter
	label  string
	show   *atomic.Pointer[progress.Task] // what the console's lines are shown with
	out    *Outcome
	failed bool
	stuck  bool // nothing more can be asked
}

// phase asks all checks of a phase and reports whether all came true.
func (r *runner) phase(ctx context.Context, s *Subject, p Phase) bool {
	r.stuck = r.stuck || r.failed // a later phase builds on an earlier one
	for _, c := range p.Checks {
		r.one(ctx, s, p.Name, c)
	}
	return !r.failed
}

func (r *runner) one(ctx context.Context, s *Subject, phase string, c Check) {
	res := Result{Phase: phase, Check: c.Name, Asserts: c.Asserts, Status: Skipped}
	defer func() { r.out.Results = append(r.out.Results, res) }()
	if c.Needs != "" && s.Emulator == nil {
		res.Why = "it needs " + string(c.Needs)
		return
	}
	if r.stuck || ctx.Err() != nil {
		return
	}
	bound := c.Bound
	if r.failed {
		bound = min(bound, afterFailure)
	}
	task := r.log.Task(r.label+phase+": "+c.Name, 0)
	r.show.Store(task)
	start := time.Now()
	stop := keepAlive(task)
	seen, err := ask(ctx, c, s, bound)
	stop()
	r.show.Store(nil)
	task.End()
	res.Took, res.At = time.Since(start), time.Since(r.out.Started)
	if err != nil {
		res.Status, res.Error = Failed, err.Error()
		r.failed = true
		r.stuck = c.Vital || s.Alive.Err() != nil
		r.log.Printf("%s%s: %s: FAILED: %s", r.label, phase, c.Name, shorten(res.Error))
		return
	}
	res.Status, res.Seen = Passed, seen
	r.log.Printf("%s%s: %s: %s", r.label, phase, c.Name, shorten(seen))
}

// fail writes down what went wrong with the machine itself.
func (r *runner) fail(phase, what string, err error) {
	r.failed, r.stuck = true, true
	r.out.Results = append(r.out.Results, Result{
		Phase: phase, Check: what, Asserts: "it works", Status: Failed, Error: err.Error(), At: time.Since(r.out.Started),
	})
	r.log.Printf("%s%s: %s: FAILED: %s", r.label, phase, what, shorten(err.Error()))
}

// keepAlive lets a task show that time passes while the console is silent.
func keepAlive(task *progress.Task) (stop func()) {
	ticker, done := time.NewTicker(time.Second), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				task.Add(0)
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}
