package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestLogGetsPlainLinesNowAndThen(t *testing.T) {
	var out bytes.Buffer
	r := New(&out)
	r.Printf("downloading %s", "x")
	task := r.Task("x", 2_000_000)
	task.Add(500_000)
	if strings.Contains(out.String(), "%") {
		t.Errorf("a log line was written before %s had passed: %q", logEvery, out.String())
	}
	task.shown = task.shown.Add(-logEvery)
	task.Note("first\nsecond\x1b[0m\n")
	task.End()
	want := "[00:00] downloading x\n[00:00] x  25 % of 2MB (0s) second[0m\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestTerminalRedrawsOneLine(t *testing.T) {
	var out bytes.Buffer
	r := New(&out)
	r.terminal, r.width = true, func() int { return 20 }
	task := r.Task("a rather long label", 0)
	task.started = time.Now()
	r.Printf("message")
	task.End()
	want := "\ra rather long label\x1b[K\r\x1b[K[00:00] message\n\ra rather long label\x1b[K\r\x1b[K"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestNilReporterDiscards(t *testing.T) {
	var r *Reporter
	r.Printf("x")
	task := r.Task("x", 1)
	task.Add(1)
	task.End()
}
