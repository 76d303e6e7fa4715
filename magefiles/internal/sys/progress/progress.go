// Package progress shows how far long work has come: a line that is redrawn on
// a terminal, a plain line now and then in a log.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/term"
)

const (
	redrawEvery = 200 * time.Millisecond
	logEvery    = 15 * time.Second
)

// Reporter writes messages and the state of running tasks to one writer. It is
// safe for concurrent use. A nil *Reporter discards everything.
type Reporter struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	width    func() int
	live     *Task // the task whose line is on the screen now
	started  time.Time
}

// New returns a Reporter on w, live if w is a terminal.
func New(w io.Writer) *Reporter {
	r := &Reporter{w: w, started: time.Now(), width: func() int { return 80 }}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		r.terminal = true
		r.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
				return w
			}
			return 80
		}
	}
	return r
}

// Printf writes one message line, prefixed with the time since the start.
func (r *Reporter) Printf(format string, args ...any) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.line(fmt.Sprintf(format, args...))
}

func (r *Reporter) line(msg string) {
	r.erase()
	d := time.Since(r.started).Truncate(time.Second)
	fmt.Fprintf(r.w, "[%02d:%02d] %s\n", int(d.Minutes()), int(d.Seconds())%60, msg)
	r.draw()
}

func (r *Reporter) erase() {
	if r.terminal && r.live != nil {
		fmt.Fprint(r.w, "\r\x1b[K")
	}
}

func (r *Reporter) draw() {
	if !r.terminal || r.live == nil {
		return
	}
	s := r.live.state()
	s = s[:min(len(s), r.width()-1)]
	fmt.Fprint(r.w, "\r"+s+"\x1b[K")
}

// Task is a piece of work under way. It is an io.Writer that counts what is
// written to it as bytes done.
type Task struct {
	r       *Reporter
	label   string
	total   int64
	done    int64
	note    string
	started time.Time
	shown   time.Time
}

// Task starts showing a piece of work. total is in bytes, 0 where it is not
// known or not counted. End must be called.
func (r *Reporter) Task(label string, total int64) *Task {
	t := &Task{r: r, label: label, total: total, started: time.Now(), shown: time.Now()}
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.erase()
		r.live = t
		r.draw()
	}
	return t
}

// Add counts n more bytes as done.
func (t *Task) Add(n int64) { t.update(func() { t.done += n }) }

// Write counts len(p) bytes as done; it never fails.
func (t *Task) Write(p []byte) (int, error) {
	t.Add(int64(len(p)))
	return len(p), nil
}

// Note shows the last line of s beside the label: the latest output of a command.
func (t *Task) Note(s string) {
	s = strings.TrimRight(s, "\r\n")
	if i := strings.LastIndexAny(s, "\r\n"); i >= 0 {
		s = s[i+1:]
	}
	if s = strings.TrimSpace(s); s != "" {
		t.update(func() { t.note = printable(s) })
	}
}

func (t *Task) update(change func()) {
	if t.r == nil {
		return
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	change()
	if t.r.terminal {
		if t.r.live == t && time.Since(t.shown) >= redrawEvery {
			t.shown = time.Now()
			t.r.draw()
		}
	} else if time.Since(t.shown) >= logEvery {
		t.shown = time.Now()
		t.r.line(t.state())
	}
}

// End stops showing the task. It prints nothing: what was achieved is the
// caller's to say.
func (t *Task) End() {
	if t.r == nil {
		return
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if t.r.live == t {
		t.r.erase()
		t.r.live = nil
	}
}

func (t *Task) state() string {
	var b strings.Builder
	b.WriteString(t.label)
	elapsed := time.Since(t.started)
	switch {
	case t.total > 0:
		fmt.Fprintf(&b, " %3d %% of %s", min(100, t.done*100/t.total), units.HumanSize(float64(t.total)))
	case t.done > 0:
		fmt.Fprintf(&b, " %s", units.HumanSize(float64(t.done)))
	}
	if s := elapsed.Seconds(); t.done > 0 && s > 1 {
		fmt.Fprintf(&b, ", %s/s", units.HumanSize(float64(t.done)/s))
	}
	fmt.Fprintf(&b, " (%s)", elapsed.Truncate(time.Second))
	if t.note != "" {
		b.WriteString(" " + t.note)
	}
	return b.String()
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 32 || r == 127 {
			return -1
		}
		return r
	}, s)
}
