package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// consoleShows asserts that the console has shown a line, at any time so far.
func consoleShows(name, expression string) boottest.Check {
	re := regexp.MustCompile(expression)
	return boottest.Check{
		Name: name, Asserts: "the console shows " + expression, Bound: firstBound, Needs: boottest.NeedConsole,
		Ask: func(_ context.Context, s *boottest.Subject) (string, error) {
			line, _, err := firstLine(s, re)
			if err == nil && line == "" {
				err = errors.New("the console has not shown it")
			}
			return line, err
		},
	}
}

// consoleIsSilent asserts that the console has shown no line of a kind.
func consoleIsSilent(name, expression string) boottest.Check {
	re := regexp.MustCompile(expression)
	return boottest.Check{
		Name: name, Asserts: "the console does not show " + expression, Bound: quick, Needs: boottest.NeedConsole,
		Ask: func(_ context.Context, s *boottest.Subject) (string, error) {
			line, lines, err := firstLine(s, re)
			if line != "" {
				err = boottest.Final("the console shows %q", line)
			}
			return fmt.Sprintf("none of %d lines", lines), err
		},
	}
}

// presses is a step: keys are pressed at the serial console, which then shows a line.
func presses(name, keys, expression string) boottest.Check {
	re := regexp.MustCompile(expression)
	return boottest.Check{
		Name: name, Asserts: "the serial console then shows " + expression, Bound: bootBound, Once: true, Vital: true, Needs: boottest.NeedConsole,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			shown := s.Emulator.Console.Expect(re)
			if err := s.Emulator.Type(keys); err != nil {
				return "", err
			}
			return shown.Wait(ctx)
		},
	}
}

// firstLine returns the first line of the console that matches, and how many
// lines it has looked at.
func firstLine(s *boottest.Subject, re *regexp.Regexp) (line string, lines int, err error) {
	f, err := os.Open(filepath.Join(s.Dir, boottest.ConsoleLog))
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		lines++
		if line := strings.TrimRight(in.Text(), "\r"); re.MatchString(line) {
			return line, lines, nil
		}
	}
	return "", lines, in.Err()
}
