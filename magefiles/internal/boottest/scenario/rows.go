package scenario

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// says asserts what a command of root's prints, white space at the ends aside.
func says(name, asserts, command, want string) boottest.Check {
	return boottest.Check{
		Name: name, Asserts: asserts, Bound: quick,
		Ask: inGuest(command, func(out string) (string, error) {
			if out = strings.TrimSpace(out); out != want {
				return "", fmt.Errorf("it says %q, expected %q", out, want)
			}
			return out, nil
		}),
	}
}

// matches asserts that what a command of root's prints matches an expression.
func matches(name, asserts, command, expression string) boottest.Check {
	re := regexp.MustCompile(expression)
	return boottest.Check{
		Name: name, Asserts: asserts, Bound: quick,
		Ask: inGuest(command, func(out string) (string, error) {
			found := re.FindString(out)
			if !re.MatchString(out) {
				return "", fmt.Errorf("it says %q, expected %s", out, expression)
			}
			return found, nil
		}),
	}
}

// lists asserts that the lines that a command of root's prints, read in some way,
// are those wanted, in whatever order.
func lists(name, asserts, command string, read func(line string) string, want []string) boottest.Check {
	return boottest.Check{
		Name: name, Asserts: asserts, Bound: quick,
		Ask: inGuest(command, func(out string) (string, error) { return judgeLines(out, read, want) }),
	}
}

func judgeLines(out string, read func(line string) string, want []string) (string, error) {
	var got []string
	for line := range strings.Lines(out) {
		got = append(got, read(line))
	}
	slices.Sort(got)
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		return "", fmt.Errorf("there are %q, expected %q", got, want)
	}
	return strings.Join(got, ", "), nil
}

// settles gives a check the time that a device takes to settle.
func settles(c boottest.Check) boottest.Check {
	c.Bound = settle
	return c
}

// needing says what a check needs of the emulator where its commands do not tell.
func needing(need boottest.Need, c boottest.Check) boottest.Check {
	c.Needs = need
	return c
}

// does is a step: root runs a command, which has to succeed.
func does(name, command string) boottest.Check {
	return boottest.Check{
		Name: name, Asserts: "it can be done", Bound: settle, Once: true, Vital: true,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) { return s.Run(ctx, command) },
	}
}

// plugs is a step: eth0's cable is plugged in or pulled out.
func plugs(in bool) boottest.Check {
	name := "cable out"
	if in {
		name = "cable in"
	}
	return boottest.Check{
		Name: name, Asserts: "eth0's carrier changes", Bound: quick, Once: true, Vital: true, Needs: boottest.NeedCable,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			return "done", s.Emulator.SetLink(ctx, in)
		},
	}
}

// restartsByItself is a step: what was asked for on the card is a restart.
func restartsByItself() boottest.Check {
	return boottest.Check{
		Name: "restarts", Asserts: "the device restarts by itself", Bound: bootBound, Once: true, Vital: true, Needs: boottest.NeedConsole,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			_, err := s.Emulator.AllowRestart().Wait(ctx)
			return "the kernel starts again", err
		},
	}
}

// cutsPower is a step: the power goes and comes again at once.
func cutsPower() boottest.Check {
	return boottest.Check{
		Name: "power cut", Asserts: "the kernel starts again", Bound: settle, Once: true, Vital: true, Needs: boottest.NeedPower,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			boots := s.Emulator.Console.Boots()
			if err := s.Emulator.Reset(ctx); err != nil {
				return "", err
			}
			return "the kernel starts again", awaitBoot(ctx, s, boots)
		},
	}
}

func awaitBoot(ctx context.Context, s *boottest.Subject, boots int) error {
	for s.Emulator.Console.Boots() == boots {
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}
