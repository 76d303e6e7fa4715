package scenario

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
)

// cubeAddress is what every name under cubeos.cube stands for.
const cubeAddress = "10.42.24.1"

// answers asks a service from outside. A service that by design listens only
// where the outside does not come in is asked from inside, at that address.
func answers(what, scheme string, port int, path string, statuses ...int) boottest.Check {
	return boottest.Check{
		Name:    fmt.Sprintf("%s, port %d", what, port),
		Asserts: fmt.Sprintf("GET %s of port %d is answered with %s", path, port, joinInts(statuses)),
		Bound:   settle,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			where := "from outside"
			status, err := s.HTTP(ctx, scheme, port, path)
			if err != nil {
				inside, insideErr := insideAddress(ctx, s, port)
				if insideErr != nil || inside == "" {
					return "", err
				}
				where = "from inside, it listens on " + inside + " only"
				if status, err = httpInside(ctx, s, scheme+"://"+net.JoinHostPort(inside, strconv.Itoa(port))+path); err != nil {
					return "", err
				}
			}
			if !slices.Contains(statuses, status) {
				return "", fmt.Errorf("GET %s was answered with %d %s, expected %s", path, status, where, joinInts(statuses))
			}
			return fmt.Sprintf("GET %s: %d %s", path, status, where), nil
		},
	}
}

// insideAddress returns an address a port of the guest listens on if none of
// them can be reached from outside.
func insideAddress(ctx context.Context, s *boottest.Subject, port int) (string, error) {
	out, err := s.Run(ctx, "ss -Hltn 'sport = :"+strconv.Itoa(port)+"'")
	if err != nil {
		return "", err
	}
	return judgeListeners(out), nil
}

// judgeListeners reads what ss prints. Docker's published ports may have no
// listener at all, so that alone does not mean that the outside is kept out.
func judgeListeners(out string) (inside string) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		host, _, err := net.SplitHostPort(f[3])
		if err != nil {
			continue
		}
		host, _, _ = strings.Cut(host, "%")
		ip := net.ParseIP(host)
		if ip == nil || ip.IsUnspecified() || ip.String() == machine.GuestAddress {
			return ""
		}
		if inside == "" || ip.To4() != nil {
			inside = ip.String()
		}
	}
	return inside
}

func httpInside(ctx context.Context, s *boottest.Subject, url string) (int, error) {
	out, err := s.Run(ctx, "curl -sSk -o /dev/null -w '%{http_code}' --max-time 20 "+url)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(out)
}

func listens(what string, port int) boottest.Check {
	return boottest.Check{
		Name:    fmt.Sprintf("%s, port %d", what, port),
		Asserts: fmt.Sprintf("something listens on port %d", port),
		Bound:   settle,
		Ask: inGuest("ss -Hltn 'sport = :"+strconv.Itoa(port)+"'", func(out string) (string, error) {
			f := strings.Fields(out)
			if len(f) < 4 {
				return "", fmt.Errorf("nothing listens on port %d", port)
			}
			return "listens on " + f[3], nil
		}),
	}
}

func resolves(proto string) boottest.Check {
	const name = "cubeos.cube"
	return boottest.Check{
		Name:    "Pi-hole's DNS, port 53/" + proto,
		Asserts: name + " resolves to " + cubeAddress,
		Bound:   settle,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			found, where, err := s.LookupA(ctx, proto, name)
			if err != nil {
				return "", err
			}
			if !slices.Equal(found, []string{cubeAddress}) {
				return "", fmt.Errorf("%s resolves to %q, expected %s", name, found, cubeAddress)
			}
			return name + " is " + found[0] + ", asked " + where, nil
		},
	}
}

func joinInts(ns []int) string {
	words := make([]string, len(ns))
	for i, n := range ns {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, "/")
}
