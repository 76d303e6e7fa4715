package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestQuote(t *testing.T) {
	for _, tt := range []struct {
		argv []string
		want string
	}{
		{[]string{"ls", "-l", "/tmp"}, "ls -l /tmp"},
		{[]string{"echo", "a b", "", "it's", "$HOME"}, `echo 'a b' '' 'it'\''s' '$HOME'`},
	} {
		got := Quote(tt.argv)
		if got != tt.want {
			t.Errorf("Quote(%q) = %s, want %s", tt.argv, got, tt.want)
		}
		out, err := Output(t.Context(), "sh", "-c", `printf '%s\0' `+got)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Join(tt.argv, "\x00") + "\x00"; out != want {
			t.Errorf("a shell read %s as %q, want %q", got, out, want)
		}
	}
}

func TestErrorCarriesTheLastOutput(t *testing.T) {
	err := Run(t.Context(), "sh", "-c", "seq 1 5000; echo the reason >&2; exit 3")
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if exit := new(exec.ExitError); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("got %v, want exit status 3", e.Err)
	}
	if !strings.HasSuffix(e.Output, "5000\nthe reason") || len(e.Output) > 8<<10 {
		t.Errorf("output ends %q (%d bytes), want the last lines only", e.Output[max(0, len(e.Output)-30):], len(e.Output))
	}
}

func TestMissingProgramSaysHowToGetIt(t *testing.T) {
	err := Run(t.Context(), "no-such-program-here")
	if err == nil || !strings.Contains(err.Error(), "mage prereqs") {
		t.Errorf("got %v, want the target that installs it", err)
	}
}

func TestCancelEndsTheWholeGroup(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	stubborn := Cmd{
		Argv:  []string{"sh", "-c", `sh -c 'trap "" TERM; echo $$ >"$0.new"; mv "$0.new" "$0"; while :; do sleep 0.1; done' "$0" & wait`, pidFile},
		grace: 100 * time.Millisecond,
	}
	go func() { done <- stubborn.Run(ctx) }()
	var pid int
	if !within(func() bool {
		b, err := os.ReadFile(pidFile)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		return err == nil
	}) {
		t.Fatal("the grandchild did not start")
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if !within(func() bool { return !running(pid) }) {
		t.Errorf("process %d outlived its cancelled parent", pid)
	}
}

// within reports whether a condition comes true in the time that it takes on a
// busy machine.
func within(condition func() bool) bool {
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// running reports whether pid exists and is more than a zombie nobody reaped.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := Output(context.Background(), "ps", "-o", "stat=", "-p", strconv.Itoa(pid))
	return err == nil && !strings.HasPrefix(strings.TrimSpace(stat), "Z")
}
