package boottest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// after returns a check that comes true after a time.
func after(name string, d time.Duration) Check {
	var start time.Time
	return Check{Name: name, Bound: time.Minute, Ask: func(context.Context, *Subject) (string, error) {
		if start.IsZero() {
			start = time.Now()
		}
		if time.Since(start) < d {
			return "", errors.New("not yet")
		}
		return "there", nil
	}}
}

func answersWith(name string, err error) Check {
	return Check{Name: name, Bound: time.Minute, Ask: func(context.Context, *Subject) (string, error) { return "", err }}
}

func blocks(name string) Check {
	return Check{Name: name, Bound: time.Minute, Ask: func(ctx context.Context, _ *Subject) (string, error) {
		<-ctx.Done()
		return "", context.Cause(ctx)
	}}
}

func vital(c Check) Check { c.Vital = true; return c }

func TestRunner(t *testing.T) {
	phases := func(first ...Check) []Phase {
		return []Phase{{Name: "one", Checks: first}, {Name: "two", Checks: []Check{after("later", 0)}}}
	}
	for _, tt := range []struct {
		name   string
		phases []Phase
		dies   time.Duration // when the machine does
		want   []string      // check, status, time it took, error
	}{
		{
			name: "all comes true in time", phases: phases(after("a", 0), after("b", 50*time.Second)),
			want: []string{"a ok 0s", "b ok 50s", "later ok 0s"},
		},
		{
			name: "one does not; the others of the phase are still asked, with less patience", phases: phases(after("a", time.Hour), after("b", time.Hour), after("c", 0)),
			want: []string{"a FAILED 1m0s not within 1m0s; not yet", "b FAILED 30s not within 30s; not yet", "c ok 0s", "later skipped"},
		},
		{
			name: "a final answer is not waited for", phases: phases(answersWith("a", Final("wrong")), after("b", 0)),
			want: []string{"a FAILED 0s wrong", "b ok 0s", "later skipped"},
		},
		{
			name: "nothing is asked after a vital one", phases: phases(vital(answersWith("a", Final("wrong"))), after("b", 0)),
			want: []string{"a FAILED 0s wrong", "b skipped", "later skipped"},
		},
		{
			name: "a guest that does not answer", phases: phases(blocks("a")),
			want: []string{"a FAILED 1m0s not within 1m0s", "later skipped"},
		},
		{
			name: "the machine dies: nothing is waited for any more", phases: phases(after("a", time.Hour), after("b", 0)), dies: 5 * time.Second,
			want: []string{"a FAILED 5s the kernel panicked; not yet", "b skipped", "later skipped"},
		},
		{
			name: "the machine dies while it is asked", phases: phases(blocks("a"), after("b", 0)), dies: 5 * time.Second,
			want: []string{"a FAILED 5s the kernel panicked", "b skipped", "later skipped"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				alive, die := context.WithCancelCause(t.Context())
				defer die(nil)
				if tt.dies > 0 {
					time.AfterFunc(tt.dies, func() { die(errors.New("the kernel panicked")) })
				}
				out := &Outcome{Started: time.Now()}
				r := runner{out: out, show: new(atomic.Pointer[progress.Task])}
				for _, p := range tt.phases {
					r.phase(t.Context(), &Subject{Alive: alive}, p)
				}
				var got []string
				for _, res := range out.Results {
					words := []string{res.Check, string(res.Status)}
					if res.Status != Skipped {
						words = append(words, res.Took.String(), res.Error)
					}
					got = append(got, strings.TrimSpace(strings.Join(words, " ")))
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("results (-want +got):\n%s", diff)
				}
			})
		})
	}
}
