package scenario

import (
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

//go:embed golden/sockets.txt
var socketsGolden string

//go:embed golden/journal.txt
var journalGolden string

// listeningSockets wants just the golden ones.
func listeningSockets() boottest.Check {
	return boottest.Check{
		Name: "listening sockets", Asserts: "those of golden/sockets.txt and no others listen", Bound: quick,
		Ask: inGuest("ss -H -lntup", func(out string) (string, error) { return judgeSockets(out, socketsGolden) }),
	}
}

var processName = regexp.MustCompile(`users:\(\("([^"]+)"`)

func judgeSockets(out, golden string) (string, error) {
	var want, got []string
	for line := range strings.Lines(golden) {
		if f := strings.Fields(line); len(f) > 4 && f[0] != "#" {
			want = append(want, strings.Join(f[:4], " "))
		}
	}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		process := "-"
		if m := processName.FindStringSubmatch(line); m != nil {
			process = m[1]
		}
		colon := strings.LastIndex(f[4], ":")
		if colon < 0 {
			return "", fmt.Errorf("ss shows %q", line)
		}
		socket := strings.Join([]string{f[0], f[4][:colon], f[4][colon+1:], process}, " ")
		if !slices.Contains(got, socket) {
			got = append(got, socket)
		}
	}
	var errs []error
	for _, socket := range got {
		if !slices.Contains(want, socket) {
			errs = append(errs, fmt.Errorf("not meant to listen: %s", socket))
		}
	}
	for _, socket := range want {
		if !slices.Contains(got, socket) {
			errs = append(errs, fmt.Errorf("does not listen: %s", socket))
		}
	}
	return fmt.Sprintf("%d sockets, all meant", len(got)), errors.Join(errs...)
}

// noUnexplainedErrors reads what the device has logged since it was started.
func noUnexplainedErrors() boottest.Check {
	return boottest.Check{
		Name: "journal errors", Asserts: "every line of priority err or worse is explained in golden/journal.txt", Bound: quick,
		Ask: inGuest("journalctl -b -p err -q --no-pager -o short-monotonic --no-hostname", func(out string) (string, error) {
			explained, err := parseExplained(journalGolden)
			if err != nil {
				return "", err
			}
			return judgeErrors(out, explained)
		}),
	}
}

// parseExplained reads expressions, each of which has to follow a comment.
func parseExplained(golden string) ([]*regexp.Regexp, error) {
	var all []*regexp.Regexp
	_, rest, _ := strings.Cut(golden, "\n\n") // the first paragraph is about the file
	why := false
	for line := range strings.Lines(rest) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "#"):
			why = true
		case line == "":
			why = false
		case !why:
			return nil, fmt.Errorf("%q is not explained", line)
		default:
			re, err := regexp.Compile(line)
			if err != nil {
				return nil, err
			}
			all = append(all, re)
		}
	}
	return all, nil
}

func judgeErrors(out string, explained []*regexp.Regexp) (string, error) {
	var errs []error
	n := 0
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		n++
		if !slices.ContainsFunc(explained, func(re *regexp.Regexp) bool { return re.MatchString(line) }) {
			errs = append(errs, fmt.Errorf("not explained: %s", line))
		}
	}
	// What is in the journal stays there.
	if len(errs) > 0 {
		return "", boottest.Final("%w", errors.Join(errs...))
	}
	return fmt.Sprintf("%d, all explained", n), nil
}
