package machine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
)

const (
	keptLines = 60
	// A line that is longer is taken for several.
	longestLine = 4 << 10
	// longestPrompt bounds what every write looks at again: a prompt is a short line
	// without an end.
	longestPrompt = 512
)

// trouble is what a console shows when no later success can be expected, and
// what it means. Prompts come without a newline, so these are also looked for in
// unfinished lines.
var trouble = []struct {
	re      *regexp.Regexp
	meaning string
}{
	{regexp.MustCompile(`Kernel panic - not syncing`), "the kernel panicked"},
	{regexp.MustCompile(`Internal error: Oops`), "the kernel oopsed"},
	{regexp.MustCompile(`^\(initramfs\) *$|Dropping to a shell!`), "the initramfs gave up and opened a shell"},
	{regexp.MustCompile(`request_module: modprobe binfmt-464c`), "a program in the image, perhaps modprobe itself, is for another kind of processor"},
	{regexp.MustCompile(`Gave up waiting for root`), "the initramfs did not find the root file system"},
	{regexp.MustCompile(`You are in (emergency|rescue) mode`), "systemd went into emergency mode"},
	{regexp.MustCompile(`Cannot open access to console, the root account is locked`), "systemd went into emergency mode"},
	{regexp.MustCompile(`(Give root password for|Press Enter for) (system )?maintenance`), "systemd went into emergency mode"},
}

var (
	bootLine = regexp.MustCompile(`Booting Linux on physical CPU`)
	escapes  = regexp.MustCompile("\x1b(\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)|[()][A-Za-z0-9]|[=>78cDEHM])")
)

// Console takes in what a serial console prints. It is an io.Writer that never
// fails, so that a full disk cannot stall the guest.
type Console struct {
	mu      sync.Mutex
	log     io.Writer
	follow  func(line string)
	trouble func(meaning string)

	partial []byte
	told    bool
	boots   int
	lines   []string // the last keptLines
	waiting []*Expectation
}

// Write implements io.Writer.
func (c *Console) Write(p []byte) (int, error) {
	if c.log != nil {
		_, _ = c.log.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partial = append(c.partial, p...)
	for len(c.partial) > 0 {
		head := c.partial[:min(len(c.partial), longestLine)]
		line, _, ended := bytes.Cut(head, []byte("\n"))
		switch {
		case ended:
			c.partial = c.partial[len(line)+1:]
		case len(head) == longestLine:
			c.partial = c.partial[len(head):]
		default:
			if len(line) <= longestPrompt {
				unfinished := clean(line)
				c.look(unfinished)
				c.match(unfinished)
			}
			return len(p), nil
		}
		c.line(clean(line))
	}
	return len(p), nil
}

func (c *Console) line(line string) {
	if line == "" {
		return
	}
	if c.lines = append(c.lines, line); len(c.lines) > keptLines {
		c.lines = c.lines[1:]
	}
	if bootLine.MatchString(line) {
		c.boots++
	}
	if c.follow != nil {
		c.follow(line)
	}
	c.look(line)
	c.match(line)
}

func (c *Console) look(line string) {
	if c.told || c.trouble == nil {
		return
	}
	for _, t := range trouble {
		if t.re.MatchString(line) {
			c.told = true
			c.trouble(t.meaning)
			return
		}
	}
}

func (c *Console) match(line string) {
	left := c.waiting[:0]
	for _, e := range c.waiting {
		if e.re.MatchString(line) {
			e.found <- line
			continue
		}
		left = append(left, e)
	}
	c.waiting = left
}

// Last returns the last n lines.
func (c *Console) Last(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := append([]string(nil), c.lines...)
	if rest := clean(c.partial); rest != "" {
		lines = append(lines, rest)
	}
	return lines[max(0, len(lines)-n):]
}

// Boots returns how often a kernel has started.
func (c *Console) Boots() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boots
}

// Expectation is a line that is still to come.
type Expectation struct {
	re    *regexp.Regexp
	found chan string
}

// Expect starts to look for a line; only what is printed from now on counts.
func (c *Console) Expect(re *regexp.Regexp) *Expectation {
	e := &Expectation{re: re, found: make(chan string, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, e)
	return e
}

// Wait returns the line, or an error when ctx ends first.
func (e *Expectation) Wait(ctx context.Context) (string, error) {
	select {
	case line := <-e.found:
		return line, nil
	case <-ctx.Done():
		return "", fmt.Errorf("waiting for %q on the console: %w", e.re, context.Cause(ctx))
	}
}

func clean(b []byte) string {
	s := escapes.ReplaceAllString(string(b), "")
	return strings.TrimRight(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 127 {
			return -1
		}
		return r
	}, s), " \t")
}
