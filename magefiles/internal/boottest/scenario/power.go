package scenario

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// bootEnds is the console line with which a first boot has ended, well or not.
var bootEnds = regexp.MustCompile(`CUBEOS: (first boot complete after|ERROR: first boot is NOT complete)`)

func power(l services.List) []boottest.Scenario {
	return []boottest.Scenario{
		{
			Name: "power-cut", About: "the power is cut while everything runs; the next boot ends operational",
			From: boottest.Running,
			Phases: []boottest.Phase{{Name: "next boot", Checks: slices.Concat(
				[]boottest.Check{cutsPower(), sshAnswers(), initFinished("normal", bootBound)},
				healthy(l),
				nothingTwice(l),
				[]boottest.Check{powersOff(), rootIsClean()},
			)}},
		},
		powerCuts(l, "power-cuts", 20, "the power is cut at 20 random moments of the first boot; each time the next boot ends operational"),
	}
}

func powerCuts(l services.List, name string, moments int, about string) boottest.Scenario {
	return boottest.Scenario{
		Name: name, About: about,
		Cuts: &boottest.PowerCuts{Moments: moments, Until: bootEnds},
		Phases: []boottest.Phase{{Name: "next boot", Checks: slices.Concat(
			[]boottest.Check{kernelStarts(), sshAnswers(), initEnded()},
			healthy(l),
			nothingTwice(l),
			[]boottest.Check{powersOff(), rootIsClean()},
		)}},
	}
}

// nothingTwice is what a first boot in several attempts must not have made twice,
// or lost.
func nothingTwice(l services.List) []boottest.Check {
	var containers, stacks []string
	for _, s := range l {
		containers = append(containers, dockerName(s)+" running")
	}
	for _, s := range l.Of(services.Stack) {
		stacks = append(stacks, s.SwarmService())
	}
	return []boottest.Check{
		lists("containers", "one container a service, none dead", `docker ps -a --format '{{.Names}} {{.State}}'`, withoutTask, containers),
		says("Swarm secrets", "each of the stacks' secrets is there once", `docker secret ls --format '{{.Name}}' | sort | xargs`,
			"cubeos_encryption_key cubeos_jwt_secret"),
		lists("services", "each stack has its one service", `docker service ls --format '{{.Name}}'`, strings.TrimSpace, stacks),
		says("secrets", "secrets.env holds each secret once, none empty, and is root's alone",
			`f=/cubeos/config/secrets.env; stat -c %a $f; grep -cE '^[A-Z_]*(PASSWORD|SECRET|KEY)=.{16,}$' $f; cut -d= -f1 $f | sort | uniq -d; grep -v '=.' $f || true`,
			"600\n4"),
		says("archives", "the space of the archives is given back", `find /var/lib/cubeos/images -name '*.tar*' | wc -l`, "0"),
		says("half-written files", "no file of ours is half-written", `find /cubeos /var/lib/cubeos /etc -xdev -name '*.partial' | wc -l`, "0"),
		says("machine id", "it has its 32 digits", `grep -Ec '^[0-9a-f]{32}$' /etc/machine-id`, "1"),
		says("file system errors", "the kernel has found none", `dmesg --level=emerg,alert,crit,err | grep -ciE 'ext4|I/O error' || true`, "0"),
	}
}

// initEnded is initFinished for a boot that may go either way: the power may have
// been cut after the first boot was complete.
func initEnded() boottest.Check {
	first, normal := initFinished("first", firstBound), initFinished("normal", firstBound)
	c := first
	c.Asserts = "cubeos-init.service has finished, as first or normal boot"
	c.Ask = func(ctx context.Context, s *boottest.Subject) (string, error) {
		seen, err := first.Ask(ctx, s)
		if err == nil || !boottest.IsFinal(err) {
			return seen, err
		}
		if seen, normalErr := normal.Ask(ctx, s); normalErr == nil {
			return seen, nil
		}
		return "", err
	}
	return c
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}
