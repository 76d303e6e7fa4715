package boottest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
)

// Scenario is a piece of a device's life and what must be true in it. Nothing is
// patched into the image: what a scenario needs to be otherwise it says by
// Device, by what Raspberry Pi Imager would write to the boot partition, or does
// to the running device.
type Scenario struct {
	Name  string // in kebab-case
	About string // one sentence: what it shows
	Core  bool   // CI runs it on every change
	// Harmless says that a device is afterwards as it was before, but for a restart:
	// a real one goes through it without being asked to by name.
	Harmless bool
	From     Origin
	Device   Device
	Beside   bool // a check asks another device, which Subject.StartRunning starts
	Phases   []Phase
	// Cuts, if not nil, cuts the power at random moments; each time, a device with
	// what was then on the card has to go through the phases.
	Cuts *PowerCuts
}

// Origin is what a scenario starts from.
type Origin int

// A Flashed device has never been booted. A Running one is in the middle of its
// life: the first boot is behind it, and it is restored within seconds.
const (
	Flashed Origin = iota
	Running
)

func (o Origin) String() string {
	if o == Running {
		return "running device"
	}
	return "flashed card"
}

// OwnSize is the CardSize of a card that is just as large as the image.
const OwnSize = -1

// Device says how a flashed device differs from the usual one, which is the zero
// value.
type Device struct {
	Board     machine.Board
	CardSize  int64 // bytes; 0: the image rounded up to whole GiB, and 4 GiB more
	MemoryMiB int   // 0: 2048
	NoRadio   bool
	Unplugged bool   // eth0 has no carrier until SetLink gives it one
	Clock     string // what the real-time clock shows, as in 1970-01-01T00:00:00; "" is now
	Watchdog  bool   // a hardware watchdog
	User      string // who Raspberry Pi Imager is told to log in; "" is cubeos
	// Customise returns what Raspberry Pi Imager writes to the boot partition; nil:
	// a user with a key.
	Customise func(user card.Seed) []card.File
}

// PowerCuts are moments at which a device's power is cut: so many, at random
// between the start and the time that a line of the console matches Until.
type PowerCuts struct {
	Moments int
	Until   *regexp.Regexp
}

// Phase is a stretch of a scenario.
type Phase struct {
	Name   string
	Checks []Check
	// Keep makes the device as it is at the end of this phase the one that
	// scenarios from Running start from.
	Keep bool
}

// Check is one thing that must be true of the device.
type Check struct {
	Name    string
	Asserts string
	Bound   time.Duration
	Every   time.Duration // between two askings; 0: 2 s
	Once    bool          // Ask does something: it is not to be repeated until it succeeds
	Off     bool          // the machine goes off, or is off, while it is asked
	Vital   bool          // when it fails, nothing after it can be asked
	Needs   Need          // what of the emulator it needs; "" can be asked of a real device
	// Ask returns what was seen. While it returns an error that is not final, it
	// is called again.
	Ask func(ctx context.Context, s *Subject) (seen string, err error)
}

// Target is a device that can be asked, emulated or real.
type Target interface {
	// Run runs a shell command as root.
	Run(ctx context.Context, command string) (stdout string, err error)
	// HTTP asks from outside for a path and returns the status.
	HTTP(ctx context.Context, scheme string, port int, path string) (status int, err error)
	// Accepts reports whether a connection from outside to a TCP port is accepted.
	Accepts(ctx context.Context, port int) (bool, error)
	// LookupA asks the device's DNS for addresses and says where it asked from.
	LookupA(ctx context.Context, protocol, name string) (found []string, where string, err error)
	// Lookup asks it from inside, at one of the device's own addresses.
	Lookup(ctx context.Context, server, name, recordType string) (records []string, status string, err error)
	// Addr is where a port is reached from here.
	Addr(protocol string, port int) (string, error)
	// Restart does what makes the device restart and waits until it has.
	Restart(ctx context.Context, how func(context.Context) error) error
	Reboot(ctx context.Context) error
}

// Subject is what checks ask.
type Subject struct {
	Target
	Alive    context.Context // ends when nothing more can be asked
	Settings Settings
	Dir      string // keeps the evidence: console.log, eth0.pcap and what checks add
	BootID   string // of the boot that was looked at last
	// FirstBootPast says that the device was switched on before, so that what would
	// be its first boot is a normal one.
	FirstBootPast bool

	// Only checks that say what they need of the emulator may use these.
	Emulator *machine.Machine // nil for a real device
	Image    *card.Image      // the artifact, unpacked
	Disk     string           // the device's file in Spec.Dir
	DiskSize int64            // 0 if it is not known
	// StartRunning starts a Running device beside this one; stop ends it.
	StartRunning func(ctx context.Context) (other *machine.Machine, stop func() error, err error)
}

func (sc Scenario) needsRunning() bool { return sc.From == Running || sc.Beside }

// Settings are what the recipe has given the image, and what has to be found on
// the device.
type Settings struct {
	Hostname, User, Locale, Timezone string
	UnattendedUpgrades               bool
}

// Names of files in Subject.Dir.
const (
	ConsoleLog = "console.log"
	Capture    = "eth0.pcap" // all that eth0 has sent and received
)

const (
	pollEvery = 2 * time.Second
	// afterFailure bounds every check that comes after a failed one: the machine
	// has had its time, and what it is like now still belongs in the table.
	afterFailure = 30 * time.Second
)

// finalError is an answer that waiting cannot change.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final is the error of an answer that waiting cannot change.
func Final(format string, args ...any) error { return finalError{fmt.Errorf(format, args...)} }

// IsFinal reports whether waiting cannot change the answer.
func IsFinal(err error) bool { return errors.As(err, new(finalError)) }

// ask waits for a check to come true within its bound.
func ask(ctx context.Context, c Check, s *Subject, bound time.Duration) (string, error) {
	alive := s.Alive
	if c.Off {
		alive = context.Background()
	}
	ctx, cancel := machine.Within(ctx, alive, bound)
	defer cancel()
	var last error
	for {
		seen, err := c.Ask(ctx, s)
		if err == nil {
			return seen, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			// What was wrong before time ran out tells more than that it ran out.
			if last == nil {
				return "", err
			}
			return "", fmt.Errorf("%w; %w", cause, last)
		}
		if c.Once || IsFinal(err) {
			return "", err
		}
		last = err
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w; %w", context.Cause(ctx), last)
		case <-time.After(cmp.Or(c.Every, pollEvery)):
		}
	}
}
