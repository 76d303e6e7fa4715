package scenario

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

//go:embed golden/sockets.txt
var socketsGolden string

//go:embed golden/journal.txt
var journalGolden string

// listeningSockets wants the golden ones and those of the services, and no others.
func listeningSockets(l services.List) boottest.Check {
	want := slices.Concat(goldenSockets(socketsGolden), serviceSockets(l))
	return boottest.Check{
		Name: "listening sockets", Asserts: "those of golden/sockets.txt and of services.json and no others listen", Bound: quick,
		Ask: inGuest(tellSockets, func(out string) (string, error) { return judgeSockets(out, want) }),
	}
}

// tellSockets prints what listens, Docker's containers, and which process is in
// which of them, a line each. The kernel knows that from the process's cgroup.
const tellSockets = `sockets=$(ss -H -lntup)
printf '%s\n' "$sockets" | sed 's/^/socket /'
docker ps --no-trunc --format 'container {{.ID}} {{.Names}}'
for pid in $(printf '%s\n' "$sockets" | grep -o 'pid=[0-9]*' | cut -d = -f 2 | sort -u); do
  echo "process $pid $(grep -oE 'docker[-/][0-9a-f]{64}' "/proc/$pid/cgroup" | tail -n 1)"
done`

// socket is protocol, address, port and who listens: the container of a service
// as dockerName has it, or else a process, - for the kernel.
func socket(protocol, address, port, who string) string {
	return strings.Join([]string{protocol, address, port, who}, " ")
}

// everywhere stands for every address of the device.
const everywhere = "*"

func goldenSockets(golden string) []string {
	var sockets []string
	for line := range strings.Lines(golden) {
		if f := strings.Fields(line); len(f) > 4 && f[0] != "#" {
			sockets = append(sockets, socket(f[0], f[1], f[2], f[3]))
		}
	}
	return sockets
}

// serviceSockets is what the services listen on. What Docker publishes it does by
// a process of its own for each version of IP.
func serviceSockets(l services.List) []string {
	var sockets []string
	for _, s := range l {
		for _, p := range s.Ports {
			port := strconv.Itoa(p.Port)
			for _, protocol := range p.Protocols {
				switch {
				case p.Target != 0:
					sockets = append(sockets, socket(protocol, "0.0.0.0", port, "docker-proxy"), socket(protocol, "[::]", port, "docker-proxy"))
				case p.Reach == services.Device:
					sockets = append(sockets, socket(protocol, "127.0.0.1", port, dockerName(s)))
				default:
					sockets = append(sockets, socket(protocol, everywhere, port, dockerName(s)))
				}
			}
		}
	}
	return sockets
}

var (
	listener = regexp.MustCompile(`\("([^"]+)",pid=(\d+),`)
	inside   = regexp.MustCompile(`^docker[-/]([0-9a-f]{64})$`)
)

// containers are those that run on a device.
type containers struct {
	names map[string]string // by ID
	ids   map[string]string // by process
}

// of returns the name of the container that a process is in.
func (c containers) of(process string) (name string, ok bool) {
	id, ok := c.ids[process]
	return cmp.Or(c.names[id], "container "+id), ok
}

// parseSockets reads what tellSockets prints.
func parseSockets(out string) ([]string, error) {
	c := containers{names: map[string]string{}, ids: map[string]string{}}
	var lines []string
	for line := range strings.Lines(out) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch first, second, _ := strings.Cut(rest, " "); kind {
		case "socket":
			lines = append(lines, rest)
		case "container":
			c.names[first] = withoutTask(second)
		case "process":
			if m := inside.FindStringSubmatch(second); m != nil {
				c.ids[first] = m[1]
			}
		}
	}
	var sockets []string
	for _, line := range lines {
		found, err := parseSocket(line, c)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(sockets, found) {
			sockets = append(sockets, found)
		}
	}
	return sockets, nil
}

// parseSocket reads a line of ss. A service listens on every address whether it
// does so by one socket of both versions of IP or by two.
func parseSocket(line string, c containers) (string, error) {
	f := strings.Fields(line)
	colon := -1
	if len(f) > 4 {
		colon = strings.LastIndex(f[4], ":")
	}
	if colon < 0 {
		return "", fmt.Errorf("ss shows %q", line)
	}
	address, port := f[4][:colon], f[4][colon+1:]
	who := []string{}
	for _, m := range listener.FindAllStringSubmatch(line, -1) {
		name, ok := c.of(m[2])
		switch {
		case !ok:
			name = m[1]
		case address == "0.0.0.0", address == "[::]":
			address = everywhere
		}
		who = append(who, name)
	}
	slices.Sort(who)
	return socket(f[0], address, port, cmp.Or(strings.Join(slices.Compact(who), "+"), "-")), nil
}

func judgeSockets(out string, want []string) (string, error) {
	got, err := parseSockets(out)
	errs := []error{err}
	for _, s := range got {
		if !slices.Contains(want, s) {
			errs = append(errs, fmt.Errorf("not meant to listen: %s", s))
		}
	}
	for _, s := range want {
		if !slices.Contains(got, s) {
			errs = append(errs, fmt.Errorf("does not listen: %s", s))
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
