package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// card is what depends on the card a device boots from: what is on its boot
// partition, how large it is, and that no two cards make the same device.
func cards(l services.List) []boottest.Scenario {
	imager := boottest.Device{User: "anna", Customise: fromImager}
	broken := boottest.Device{Customise: brokenUserData}
	missing := boottest.Device{Customise: noUserData}
	return []boottest.Scenario{
		{
			Name: "imager", About: "all that Raspberry Pi Imager's dialog can say is honoured, or the device says that it is not",
			Device: imager,
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: slices.Concat(firstBoot(), imagerSettings(), healthy(l))},
				{Name: "reboot", Checks: slices.Concat(secondBoot(), imagerSettings(), healthy(l))},
			},
		},
		{
			Name: "imager-cut", About: "the power goes while cloud-init's work is not yet on the card; the next boot does all of it again",
			Device: imager,
			Phases: []boottest.Phase{
				{Name: "power cut", Checks: []boottest.Check{cutsPowerAfter("cloud-init made the user", `Cloud-init v.* running 'modules:config'`, 2*time.Second)}},
				{Name: "next boot", Checks: slices.Concat(
					[]boottest.Check{consoleShows("says so", `CUBEOS: cloud-init was cut off: it begins again`)},
					firstBoot(), imagerSettings(), healthy(l),
				)},
				{Name: "reboot", Checks: slices.Concat(secondBoot(), imagerSettings(), []boottest.Check{
					says("cloud-init's notes", "it did not begin again another time", `systemctl show --property=ConditionResult --value cubeos-cloud-init-forget.service`, "no"),
				})},
			},
		},
		{
			Name: "imager-restart", About: "a user with a key only is an administrator, and user-data that restarts the device does so once",
			Device: boottest.Device{User: "anna", Customise: restarting},
			Phases: []boottest.Phase{
				{Name: "restart", Checks: []boottest.Check{kernelStarts(), restartsByItself()}},
				{Name: "next boot", Checks: slices.Concat(
					[]boottest.Check{consoleShows("says so", `CUBEOS: cloud-init goes on where the device was restarted`)},
					firstBoot(), healthy(l),
					[]boottest.Check{says("groups", "the user has the groups of the built-in one", `for group in sudo docker adm cubeos; do id -nG anna | grep -ow $group; done | xargs`, "sudo docker adm cubeos")},
				)},
				{Name: "reboot", Checks: slices.Concat(secondBoot(), healthy(l))},
			},
		},
		withoutLogin(l, "imager-broken", "user-data that is no YAML costs its own settings and nothing else", broken,
			consoleShows("says so", `CUBEOS: WARNING: user-data on the boot partition can not be read, nothing of it is used: .*line 3`)),
		withoutLogin(l, "imager-missing", "a boot partition without user-data costs nothing", missing,
			consoleShows("says so", `CUBEOS: WARNING: there is no user-data on the boot partition`)),
		grown(l, "card-own-size", "a card that is just as large as the image: there is nothing to grow", boottest.OwnSize),
		grown(l, "card-64gb", "the root file system grows to a card of 64 GiB", 64<<30),
		{
			Name: "growth-cut", About: "the power goes while the root file system grows to a card of 64 GiB",
			Device: boottest.Device{CardSize: 64 << 30},
			Phases: []boottest.Phase{
				{Name: "power cuts", Checks: []boottest.Check{
					cutsPowerAfter("growing began", `CUBEOS: growing partition`, 3*time.Second),
					// The cut before may have come too late for a second one.
					cutsPowerAfter("the file system began to grow", `on-line resizing required|CUBEOS: the root file system has`, 3*time.Second),
				}},
				{Name: "next boot", Checks: slices.Concat(firstBoot(), healthy(l))},
				{Name: "power off", Checks: []boottest.Check{powersOff(), rootIsClean()}},
			},
		},
		{
			Name: "identity", About: "two devices flashed from one image have nothing in common that tells them apart",
			Beside: true,
			Phases: []boottest.Phase{{Name: "first boot", Checks: slices.Concat(firstBoot(), []boottest.Check{asksAnother()}, differences())}},
		},
	}
}

func firstBoot() []boottest.Check {
	return []boottest.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)}
}

func secondBoot() []boottest.Check {
	return []boottest.Check{reboots(), sshAnswers(), bootIDChanged(), initFinished("normal", bootBound)}
}

// grown is a card of a size.
func grown(l services.List, name, about string, size int64) boottest.Scenario {
	return boottest.Scenario{
		Name: name, About: about, Device: boottest.Device{CardSize: size},
		Phases: []boottest.Phase{
			{Name: "first boot", Checks: slices.Concat(firstBoot(), healthy(l), []boottest.Check{
				consoleShows("room", `CUBEOS: the root file system has \d+ MiB, \d+ MiB of them free`),
				matches("time to grow", "systemd tells how long cubeos-grow-root.service has taken",
					`systemd-analyze blame | sed -n 's/^ *\(.*\) cubeos-grow-root.service$/\1/p'`, `^[0-9].*s$`),
			})},
			{Name: "power off", Checks: []boottest.Check{powersOff(), rootIsClean()}},
		},
	}
}

// withoutLogin is a device that nobody can log in to: it is seen from outside.
func withoutLogin(l services.List, name, about string, device boottest.Device, complaint boottest.Check) boottest.Scenario {
	var pages []boottest.Check
	for _, s := range l {
		if s.WebPort().Reach == services.Network {
			pages = append(pages, answers(s))
		}
	}
	return boottest.Scenario{
		Name: name, About: about, Device: device,
		Phases: []boottest.Phase{
			{Name: "first boot", Checks: slices.Concat([]boottest.Check{
				kernelStarts(), complaint,
				consoleShows("no key", `CUBEOS: WARNING: no user has an SSH key`),
				consoleShows("access point", `CUBEOS: access point CubeOS-[0-9A-F]{6} is up on wlan0`),
				consoleShows("first boot", `CUBEOS: first boot complete`),
			}, pages, []boottest.Check{consoleIsSilent("no unit failed", `\[FAILED\]|Failed to start`)})},
			{Name: "next boot", Checks: slices.Concat([]boottest.Check{
				cutsPower(), consoleShows("normal boot", `CUBEOS: normal boot complete`),
			}, pages)},
		},
	}
}

// cutsPowerAfter is a step: the power goes some time after a line of the console.
func cutsPowerAfter(what, line string, longest time.Duration) boottest.Check {
	re := regexp.MustCompile(line)
	return boottest.Check{
		Name: "power cut after " + what, Asserts: "the kernel starts again", Bound: bootBound, Once: true, Vital: true, Needs: boottest.NeedPower,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			if _, err := s.Emulator.Console.Expect(re).Wait(ctx); err != nil {
				return "", err
			}
			after := rand.N(longest).Round(time.Millisecond) //nolint:gosec // no secret
			select {
			case <-time.After(after):
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
			boots := s.Emulator.Console.Boots()
			if err := s.Emulator.Reset(ctx); err != nil {
				return "", err
			}
			return fmt.Sprintf("%s later", after), awaitBoot(ctx, s, boots)
		},
	}
}

// fact is something that no two devices may share.
type fact struct{ name, command string }

func facts() []fact {
	facts := []fact{
		{"machine id", "cat /etc/machine-id"},
		{"SSH host key, Ed25519", "cut -d ' ' -f 2 /etc/ssh/ssh_host_ed25519_key.pub"},
		{"SSH host key, ECDSA", "cut -d ' ' -f 2 /etc/ssh/ssh_host_ecdsa_key.pub"},
		{"Docker's id", "docker info --format '{{.ID}}'"},
		{"Swarm node", "docker info --format '{{.Swarm.NodeID}}'"},
		{"Swarm cluster", "docker info --format '{{.Swarm.Cluster.ID}}'"},
		{"Swarm's root certificate", "docker info --format '{{.Swarm.Cluster.TLSInfo.TrustRoot}}' | sha256sum"},
		{"random seed", "sha256sum /var/lib/systemd/random-seed | cut -d ' ' -f 1"},
		{"DHCP's client id", "cat /var/lib/dhcpcd/duid"},
	}
	for _, name := range []string{"NPM_API_PASSWORD", "JWT_SECRET", "CUBEOS_ENCRYPTION_KEY", "HAL_CORE_KEY"} {
		facts = append(facts, fact{name, "sed -n 's/^" + name + "=//p' /cubeos/config/secrets.env | grep . | sha256sum"})
	}
	return facts
}

const identityFile = "identity-of-the-other.json"

// asksAnother is a step: the facts of a device that others start from are kept.
func asksAnother() boottest.Check {
	return boottest.Check{
		Name: "another device", Asserts: "another device of this image tells who it is", Bound: bootBound, Once: true, Vital: true, Needs: boottest.NeedAnother,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			other, stop, err := s.StartRunning(ctx)
			if err != nil {
				return "", err
			}
			defer func() { err = errors.Join(err, stop()) }()
			known := map[string]string{}
			for _, f := range facts() {
				if known[f.name], err = other.Run(ctx, f.command); err != nil {
					return "", fmt.Errorf("%s of the other device: %w", f.name, err)
				}
			}
			b, err := json.MarshalIndent(known, "", "  ")
			if err != nil {
				return "", err
			}
			return strconv.Itoa(len(known)) + " facts", os.WriteFile(filepath.Join(s.Dir, identityFile), b, 0o600)
		},
	}
}

func differences() []boottest.Check {
	var checks []boottest.Check
	for _, f := range facts() {
		checks = append(checks, boottest.Check{
			Name: f.name, Asserts: "it is another one than that of the other device", Bound: quick, Needs: boottest.NeedAnother,
			Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
				b, err := os.ReadFile(filepath.Join(s.Dir, identityFile))
				if err != nil {
					return "", err
				}
				var others map[string]string
				if err := json.Unmarshal(b, &others); err != nil {
					return "", err
				}
				own, err := s.Run(ctx, f.command)
				if err != nil {
					return "", err
				}
				return judgeDifference(own, others[f.name])
			},
		})
	}
	return checks
}

func judgeDifference(own, other string) (string, error) {
	switch {
	case own == "" || other == "":
		return "", boottest.Final("this device says %q, the other one %q", own, other)
	case own == other:
		return "", boottest.Final("both devices say %q", own)
	}
	return fmt.Sprintf("%.16s… and %.16s…", own, other), nil
}
