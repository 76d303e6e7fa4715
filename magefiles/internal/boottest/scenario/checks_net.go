package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// What defaults.env gives to every device: all names under the domain stand for
// the address.
const (
	cubeDomain  = "cubeos.cube"
	cubeAddress = "10.42.24.1"
)

// Ports at which something is spoken that can be asked.
const (
	dnsPort  = 53
	httpPort = 80
)

func portOf(s services.Service, port int) string { return fmt.Sprintf("%s, port %d", s.Title, port) }

// serves asserts of each port of a service that it is open to whom it is meant
// for, and of those that speak a language known here that it answers.
func serves(s services.Service) []boottest.Check {
	var checks []boottest.Check
	for _, p := range s.Ports {
		for _, protocol := range p.Protocols {
			switch {
			case p.Port == dnsPort:
				checks = append(checks, resolves(s.Title, protocol))
			case protocol != "tcp":
				// Whether it listens is seen with all the other sockets.
			case p.Port == s.HTTP.Port:
				checks = append(checks, answers(s))
			case p.Port == httpPort && p.Reach == services.Network:
				checks = append(checks, proxies(s, p.Port))
			default:
				checks = append(checks, listens(s, p.Port))
			}
			if protocol == "tcp" && p.Reach != services.Network {
				checks = append(checks, closed(s, p.Port))
			}
		}
	}
	return checks
}

// answers asks a service from outside, or from inside where the outside must not
// come in.
func answers(s services.Service) boottest.Check {
	inside := s.WebPort().Reach != services.Network
	what := "GET " + s.HTTP.Health + " from outside"
	if inside {
		what = "GET " + s.HTTP.Health + " from inside"
	}
	return boottest.Check{
		Name: portOf(s, s.HTTP.Port), Asserts: what + " is answered with a status below 400", Bound: settle,
		Ask: func(ctx context.Context, subject *boottest.Subject) (_ string, err error) {
			var status int
			if inside {
				status, err = httpInside(ctx, subject, s.HealthURL())
			} else {
				status, err = subject.HTTP(ctx, "http", s.HTTP.Port, s.HTTP.Health)
			}
			if err != nil {
				return "", err
			}
			return judgeStatus(what, status, 400)
		},
	}
}

// proxies asks a proxy for a name that it may not know.
func proxies(s services.Service, port int) boottest.Check {
	return boottest.Check{
		Name: portOf(s, port), Asserts: "GET / from outside is answered, be it with what is not found", Bound: settle,
		Ask: func(ctx context.Context, subject *boottest.Subject) (string, error) {
			status, err := subject.HTTP(ctx, "http", port, "/")
			if err != nil {
				return "", err
			}
			return judgeStatus("GET / from outside", status, 500)
		},
	}
}

func judgeStatus(what string, status, limit int) (string, error) {
	if status < 200 || status >= limit {
		return "", fmt.Errorf("%s was answered with %d, expected less than %d", what, status, limit)
	}
	return fmt.Sprintf("%s: %d", what, status), nil
}

func httpInside(ctx context.Context, s *boottest.Subject, url string) (int, error) {
	out, err := s.Run(ctx, "curl -s -o /dev/null -w '%{http_code}' --max-time 20 "+url)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(out)
}

func listens(s services.Service, port int) boottest.Check {
	return boottest.Check{
		Name: portOf(s, port), Asserts: "something listens there", Bound: settle,
		Ask: inGuest("ss -Hltn 'sport = :"+strconv.Itoa(port)+"'", func(out string) (string, error) {
			f := strings.Fields(out)
			if len(f) < 4 {
				return "", fmt.Errorf("nothing listens on port %d", port)
			}
			return "listens on " + f[3], nil
		}),
	}
}

// closed asserts that the outside does not come in at a port.
func closed(s services.Service, port int) boottest.Check {
	return boottest.Check{
		Name: portOf(s, port) + ", from outside", Asserts: "a connection from outside is refused", Bound: quick,
		Ask: func(ctx context.Context, subject *boottest.Subject) (string, error) {
			open, err := subject.Accepts(ctx, port)
			if err == nil && open {
				err = errors.New("it accepts connections from outside")
			}
			return "refused", err
		},
	}
}

func resolves(who, proto string) boottest.Check {
	const name = cubeDomain
	return boottest.Check{
		Name:    fmt.Sprintf("%s, port %d/%s", who, dnsPort, proto),
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
