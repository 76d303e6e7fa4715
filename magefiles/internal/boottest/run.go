// Package boottest puts artifacts through scenarios on throw-away devices in
// QEMU. Package scenario says what has to be true, package machine runs a
// device, package card makes its card from an artifact.
package boottest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// What is in Options.WorkDir. Devices refer to images and to each other by
// relative paths, so all directories are at the same depth.
const (
	rawDir       = "raw"
	machinesDir  = "machines"
	snapshotsDir = "snapshots"
	lockFile     = "lock"
)

// Run puts an artifact through scenarios. The report is there also when one
// failed; the error then says what failed, where the evidence is, and how to open
// the machine again.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("the boot proof cannot start:\n%w", err)
	}
	unlock, err := lockWorkDir(o.WorkDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := sweep(o.WorkDir, o.Reporter); err != nil {
		return nil, err
	}
	raw, err := card.Unpack(ctx, o.Artifact, filepath.Join(o.WorkDir, rawDir), o.Reporter)
	if err != nil {
		return nil, err
	}
	image, err := card.Inspect(ctx, raw)
	if err != nil {
		return nil, err
	}
	if err := image.CheckFirmware(ctx, o.InitFormat, o.WorkDir); err != nil {
		return nil, err
	}
	o.Reporter.Printf("the boot partition has all that the firmware of a Raspberry Pi 4 and 5 asks for")
	s := &session{o: o, image: image, kept: make(chan struct{})}
	if err := s.chooseKernel(ctx); err != nil {
		return nil, err
	}
	o.Reporter.Printf("kernel: %s", s.kernel)
	// One of another image is of no use any more.
	if _, err := s.running(ctx); err != nil && !errors.Is(err, errNoSnapshot) {
		return nil, err
	}
	report := s.all(ctx)
	if ctx.Err() != nil { // the devices of an interrupted proof show nothing
		return nil, errors.Join(context.Cause(ctx), os.RemoveAll(filepath.Join(o.WorkDir, machinesDir)))
	}
	errs := []error{report.save(o.WorkDir)}
	if !report.Passed() {
		errs = append(errs, fmt.Errorf("the boot proof failed:\n%s", strings.TrimRight(report.Failures(), "\n")))
	}
	return report, errors.Join(errs...)
}

// session is one Run.
type session struct {
	o      Options
	image  *card.Image
	kernel KernelReport

	once    sync.Once
	kept    chan struct{} // closed when the running device is there, or will not be
	keptErr error
}

// all plays all scenarios, Jobs of them at once.
func (s *session) all(ctx context.Context) *Report {
	report := &Report{Artifact: filepath.Base(s.o.Artifact.XZPath), RawSHA256: s.o.Artifact.RawSHA256, Kernel: s.kernel, Started: time.Now()}
	scenarios := s.withOrigin(ctx)
	report.Scenarios = make([]*Outcome, len(scenarios))
	order := make([]int, len(scenarios))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return s.turn(scenarios[a]) - s.turn(scenarios[b]) })
	var g errgroup.Group
	g.SetLimit(s.o.Jobs)
	for _, i := range order {
		g.Go(func() error {
			report.Scenarios[i] = s.play(ctx, scenarios[i])
			return nil
		})
	}
	_ = g.Wait() // what failed is in the report
	report.Took = time.Since(report.Started)
	return report
}

// turn sorts scenarios: the one that others wait for comes first, then those that
// wait for nothing, and last the one that brings work for all slots.
func (s *session) turn(sc Scenario) int {
	switch {
	case sc.Name == s.o.Origin.Name:
		return 0
	case sc.Cuts != nil:
		return 3
	case sc.needsRunning():
		return 2
	}
	return 1
}

// withOrigin returns the scenarios to play: those that were asked for, and before
// them what makes the running device, if one of them needs it and it is not there.
func (s *session) withOrigin(ctx context.Context) []Scenario {
	named := func(sc Scenario) bool { return sc.Name == s.o.Origin.Name }
	if slices.ContainsFunc(s.o.Scenarios, named) || !slices.ContainsFunc(s.o.Scenarios, Scenario.needsRunning) {
		return s.o.Scenarios
	}
	_, err := s.running(ctx)
	if errors.Is(err, errNoSnapshot) {
		return slices.Concat([]Scenario{upToKeep(s.o.Origin)}, s.o.Scenarios)
	}
	s.keepDone(err)
	return s.o.Scenarios
}

// keepDone says that the running device is there, or why it is not.
func (s *session) keepDone(err error) {
	s.once.Do(func() {
		s.keptErr = err
		close(s.kept)
	})
}

// upToKeep is as much of a scenario as makes the running device.
func upToKeep(sc Scenario) Scenario {
	for i, p := range sc.Phases {
		if p.Keep {
			sc.Phases = sc.Phases[:i+1]
			break
		}
	}
	return sc
}

// play plays one scenario. What went wrong is in the outcome.
func (s *session) play(ctx context.Context, sc Scenario) *Outcome {
	out := &Outcome{Scenario: sc.Name, About: sc.About, Started: time.Now()}
	defer func() { out.Took = time.Since(out.Started) }()
	if sc.Name == s.o.Origin.Name {
		defer s.keepDone(errors.New("the first boot of the scenario " + sc.Name + " did not end well"))
	}
	if why, err := unavailable(ctx, sc.Device); err != nil {
		out.broken(sc.Phases, err)
		return out
	} else if why != "" {
		s.o.Reporter.Printf("%sskipped: %s", s.label(out), why)
		out.unavailable(sc.Phases, why)
		return out
	}
	if sc.Cuts != nil {
		s.playCuts(ctx, sc, out)
		return out
	}
	d, err := s.device(ctx, sc)
	if err != nil {
		out.broken(sc.Phases, fmt.Errorf("preparing the device: %w", err))
		return out
	}
	out.Machine = d.describe()
	s.live(ctx, d, sc.Phases, out)
	return out
}

// unavailable says why this host cannot emulate a device; "" means that it can.
func unavailable(ctx context.Context, d Device) (why string, err error) {
	offered, err := machine.Offered(ctx, d.Board)
	if err != nil || offered {
		return "", err
	}
	return fmt.Sprintf("this host's QEMU has no %s; 9.0 and later have it: that of Debian 13, or of bookworm-backports", d.Board), nil
}

func (s *session) device(ctx context.Context, sc Scenario) (*device, error) {
	if sc.From == Flashed {
		return s.flashed(ctx, sc)
	}
	return s.restored(ctx, sc.Name)
}

// live starts a device and takes it through phases. A device that has passed is
// removed; one that has not is kept as it is, for people.
func (s *session) live(ctx context.Context, d *device, phases []Phase, out *Outcome) {
	bounded, cancel := context.WithTimeoutCause(ctx, lifeBound, fmt.Errorf("not done within %s", lifeBound))
	defer cancel()
	began := time.Now()
	// The machine outlives the bound, so that it can still be asked why.
	m, err := d.start(ctx)
	if err != nil {
		out.broken(phases, fmt.Errorf("starting the machine: %w", err))
		return
	}
	subject := &Subject{
		Target: m, Alive: m.Context(), Settings: s.o.Settings, Dir: d.evidence,
		Emulator: m, Image: s.image, Disk: d.spec.Disk, DiskSize: d.size,
	}
	subject.StartRunning = func(ctx context.Context) (*machine.Machine, func() error, error) {
		return s.startRunning(ctx, out.Scenario+"-beside")
	}
	r := runner{log: s.o.Reporter, label: s.label(out), show: &d.showing, out: out}
	for _, p := range phases {
		passed := r.phase(bounded, subject, p)
		if subject.Alive.Err() == nil {
			collect(ctx, subject, p.Name, passed, s.o.Reporter)
		}
		if passed && p.Keep {
			if d, err = s.keepAndGoOn(ctx, d, subject, time.Since(began)); err != nil {
				r.fail(p.Name, "keeping the device", err)
			} else {
				r.show = &d.showing
			}
		}
	}
	m = subject.Emulator
	switch {
	case ctx.Err() != nil:
		err = errors.Join(m.Close(), os.RemoveAll(d.spec.Dir))
	case out.Passed():
		err = errors.Join(m.Close(), os.RemoveAll(d.spec.Dir))
	default:
		out.Reopen = s.reopen(ctx, d, m)
	}
	if err != nil {
		r.fail("end", "the machine's end", err)
	}
}

// label is what messages begin with where several scenarios are played.
func (s *session) label(out *Outcome) string {
	if len(s.o.Scenarios) == 1 && s.o.Scenarios[0].Cuts == nil {
		return ""
	}
	return out.Scenario + ": "
}

// keepAndGoOn keeps the running device for other scenarios and goes on with a
// device over it.
func (s *session) keepAndGoOn(ctx context.Context, d *device, subject *Subject, took time.Duration) (*device, error) {
	name, evidence, capture := filepath.Base(d.spec.Dir), d.evidence, d.spec.Capture
	if err := subject.Emulator.Freeze(ctx, memoryFile); err != nil {
		return d, err
	}
	if err := s.keep(ctx, d, took); err != nil {
		return d, err
	}
	s.keepDone(nil)
	kept, err := s.running(ctx)
	if err != nil {
		return d, err
	}
	on, err := kept.over(ctx, s.machineDir(name), diskFile)
	if err != nil {
		return d, err
	}
	on.evidence, on.spec.Capture = evidence, capture
	m, err := on.start(ctx)
	if err != nil {
		return d, err
	}
	subject.Target, subject.Emulator, subject.Alive, subject.Disk = m, m, m.Context(), on.spec.Disk
	return on, nil
}

// reopen ends a machine so that a person can open it at the very same moment, and
// says how.
func (s *session) reopen(ctx context.Context, d *device, m *machine.Machine) string {
	spec := m.Latest()
	spec.Memory, spec.Capture = "", ""
	if m.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(ctx, commandBound)
		defer cancel()
		if err := m.Freeze(ctx, memoryFile); err != nil {
			s.o.Reporter.Printf("%v: it can be opened again only by booting it", err)
		} else {
			spec.Memory = memoryFile
		}
	} else if err := m.Close(); err != nil {
		s.o.Reporter.Printf("ending the machine: %v", err)
	}
	console := fmt.Sprintf("the very same machine, its console on the terminal (Ctrl-A X ends it):\n  cd %s && %s",
		process.Quote([]string{spec.Dir}), process.Quote(machine.InteractiveArgv(spec)))
	addr, err := m.Addr("tcp", 22)
	if err != nil { // it has no network
		return console
	}
	_, port, _ := strings.Cut(addr, ":")
	return console + fmt.Sprintf("\nand from another terminal:\n  ssh -i %s -p %s -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null %s@127.0.0.1",
		process.Quote([]string{d.keyPath}), port, d.user)
}

func lockWorkDir(dir string) (unlock func() error, err error) {
	unlock, err = lock.Try(filepath.Join(dir, lockFile), lock.Exclusive)
	if errors.Is(err, lock.ErrHeld) {
		return nil, fmt.Errorf("another boot proof runs in %s: wait for it, or use another directory", dir)
	}
	return unlock, err
}

// sweep removes what the last run left: its evidence, the devices that failed,
// and all of a run that was killed.
func sweep(dir string, rep *progress.Reporter) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		switch e.Name() {
		case lockFile, rawDir, snapshotsDir:
			continue
		case machinesDir:
			if left, err := os.ReadDir(filepath.Join(dir, machinesDir)); err == nil && len(left) > 0 {
				rep.Printf("removing %d device(s) that an earlier boot proof left in %s", len(left), dir)
			}
		}
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
