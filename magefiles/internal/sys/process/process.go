// Package process is the one way this project runs other programs.
package process

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// killAfter is how long a cancelled command has to end on its own after
// SIGTERM before it is killed.
const killAfter = 5 * time.Second

// Cmd is a command to run. Only Argv is required.
type Cmd struct {
	Argv  []string
	Dir   string
	Env   []string // KEY=value, complete; nil inherits the caller's
	Stdin io.Reader
	// Where output goes. nil keeps it and shows its end only in the error of a
	// failed run; Tee(w) keeps it and passes it on.
	Stdout, Stderr io.Writer

	grace time.Duration // 0 means killAfter
}

// Error reports a command that could not be started or did not exit with 0.
type Error struct {
	Argv   []string
	Output string // the last lines of what the command printed, where it was kept
	Err    error
}

func (e *Error) Error() string {
	msg := fmt.Sprintf("%s: %v", brief(e.Argv), e.Err)
	if e.Output != "" {
		msg += "\n" + indent(e.Output)
	}
	return msg
}

func (e *Error) Unwrap() error { return e.Err }

// Run runs argv and waits for it. Its output is kept and becomes part of the
// error if the command fails.
func Run(ctx context.Context, argv ...string) error {
	return Cmd{Argv: argv}.Run(ctx)
}

// Output runs argv and returns its standard output without the trailing newline.
func Output(ctx context.Context, argv ...string) (string, error) {
	var out bytes.Buffer
	err := Cmd{Argv: argv, Stdout: &out}.Run(ctx)
	return strings.TrimRight(out.String(), "\n"), err
}

// Run runs the command in a process group of its own and waits for it. When
// ctx ends, the group gets SIGTERM and after five seconds SIGKILL; when this
// program dies in any way, the kernel kills the command.
func (c Cmd) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return &Error{Argv: c.Argv, Err: context.Cause(ctx)}
	}
	kept := &tail{max: 8 << 10}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.Dir, c.Env, c.Stdin
	cmd.Stdout, cmd.Stderr = orKeep(c.Stdout, kept), orKeep(c.Stderr, kept)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = cmp.Or(c.grace, killAfter)

	// Pdeathsig is sent when the starting *thread* ends (golang/go#27505), so
	// that thread has to stay for as long as the command runs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	if ended := cmd.ProcessState; ended != nil {
		timing.AddCPU(ctx, ended.UserTime()+ended.SystemTime())
	}
	if ctx.Err() != nil && cmd.Process != nil {
		// The group may hold more than the process that was waited for.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return &Error{Argv: c.Argv, Err: context.Cause(ctx)}
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%w; `go tool mage prereqs` installs what a build needs", err)
	}
	return &Error{Argv: c.Argv, Output: kept.String(), Err: err}
}

// Quote renders argv as a line that a POSIX shell reads back as argv.
func Quote(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = a
		if a == "" || strings.ContainsFunc(a, needsQuote) {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// brief is Quote for messages: of an inline script or a long list only the
// start is shown.
func brief(argv []string) string {
	const most = 100
	short := make([]string, len(argv))
	for i, a := range argv {
		line, rest, _ := strings.Cut(a, "\n")
		if len(line) > most {
			line, rest = line[:most], line[most:]
		}
		short[i] = Quote([]string{line})
		if rest != "" {
			short[i] += "…"
		}
	}
	return strings.Join(short, " ")
}

func needsQuote(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_", r)
}

func orKeep(w io.Writer, kept *tail) io.Writer {
	switch w := w.(type) {
	case nil:
		return kept
	case tee:
		return io.MultiWriter(kept, w.Writer)
	}
	return w
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}
