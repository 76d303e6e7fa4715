// Package emulator proves that an image works by booting it in QEMU: checks.go
// says what has to be true, package machine runs the device, package media makes
// it from an artifact.
package emulator

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/emulator/machine"
	"github.com/cubeos-app/releases/magefiles/internal/emulator/media"
	"github.com/cubeos-app/releases/magefiles/internal/process"
	"github.com/cubeos-app/releases/magefiles/internal/progress"
)

const (
	machinesDir = "machines"
	consoleLog  = "console.log"
	user        = "cubeos"
	keyFile     = "id_ed25519"
	diskFile    = "device.qcow2"
)

// forwards are the guest's ports that are asked from outside.
var forwards = []machine.Forward{
	{Proto: "tcp", Guest: 22},
	{Proto: "udp", Guest: 53},
	{Proto: "tcp", Guest: 53},
	{Proto: "tcp", Guest: 80},
	{Proto: "tcp", Guest: 81},
	{Proto: "tcp", Guest: 443},
	{Proto: "tcp", Guest: 6001},
	{Proto: "tcp", Guest: 6005},
	{Proto: "tcp", Guest: 6010},
	{Proto: "tcp", Guest: 6011},
}

// Prove boots an artifact on a throw-away device and checks it. The report is
// there also when a check failed; the error then says what failed, where the
// evidence is, and how to open the machine again.
func Prove(ctx context.Context, o Options) (_ *Report, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("the boot proof cannot start:\n%w", err)
	}
	unlock, err := lock(o.WorkDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := sweep(o.WorkDir, o.Reporter); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("the boot proof was not done within %s", o.Timeout))
	defer cancel()
	d, err := prepare(bounded, o)
	if err != nil {
		return nil, err
	}
	// The machine outlives the bound, so that it can still be asked why.
	m, err := machine.Start(ctx, d.spec, d.options(o))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the machine: %w", err), os.RemoveAll(d.spec.Dir))
	}
	report := d.prove(bounded, m, o)
	if ctx.Err() != nil { // the device of an interrupted proof shows nothing
		return nil, errors.Join(context.Cause(ctx), m.Close(), os.RemoveAll(d.spec.Dir))
	}
	var errs []error
	if !report.Passed() {
		collect(ctx, m, o)
		errs = append(errs, failure(report, m, o))
	}
	errs = append(errs, m.Close(), report.save(o.WorkDir))
	if report.Passed() {
		errs = append(errs, os.RemoveAll(d.spec.Dir))
	}
	return report, errors.Join(errs...)
}

// device is all that a machine is started from.
type device struct {
	image  *media.Image
	spec   machine.Spec
	signer ssh.Signer
	size   int64
	booted string // the names of the kernel and initramfs on the boot partition

	showing atomic.Pointer[progress.Task] // what the console's lines are shown with
}

func prepare(ctx context.Context, o Options) (_ *device, err error) {
	raw, err := media.Unpack(ctx, o.Artifact, filepath.Join(o.WorkDir, "raw"), o.Reporter)
	if err != nil {
		return nil, err
	}
	img, err := media.Inspect(ctx, raw)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.WorkDir, machinesDir, "proof")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	boot, err := img.Extract(ctx, dir)
	if err != nil {
		return nil, err
	}
	signer, err := newKey(filepath.Join(dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("making a key to log in with: %w", err)
	}
	seed := media.Seed{
		InstanceID:    fmt.Sprintf("boot-proof-%d", time.Now().UnixMilli()),
		User:          user,
		AuthorizedKey: string(ssh.MarshalAuthorizedKey(signer.PublicKey())),
	}
	if err := img.NewOverlay(ctx, dir, diskFile, o.DiskSize, seed.CloudInit()); err != nil {
		return nil, err
	}
	return &device{
		image: img, signer: signer, size: o.DiskSize, booted: boot.From,
		spec: machine.Spec{
			Name: "cubeos", Dir: dir, Accel: machine.DetectAccel(), CPUs: o.CPUs, MemoryMiB: o.MemoryMiB,
			Kernel: boot.Kernel, Initrd: boot.Initrd, Cmdline: cmdline(boot.Cmdline), Disk: diskFile,
			Forwards: forwards, Online: o.Online,
		},
	}, nil
}

// emulated is what the emulated device needs beyond the image's own command line:
// its serial port, a radio in place of the Pi's, and the patience of a machine
// that is ten times slower than the one systemd's 90 seconds are meant for.
const emulated = " console=ttyAMA0 modules_load=mac80211_hwsim" +
	" systemd.default_device_timeout_sec=450 systemd.default_timeout_start_sec=450"

func cmdline(own string) string {
	line := own + emulated
	if strings.Contains(" "+own+" ", " quiet ") {
		line += " loglevel=7" // the console is how a boot that fails early is seen
	}
	return line
}

func newKey(path string) (ssh.Signer, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "boot proof")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(private)
}

func (d *device) options(o Options) machine.Options {
	return machine.Options{
		ConsoleLog: filepath.Join(o.WorkDir, consoleLog),
		Follow: func(line string) {
			if t := d.showing.Load(); t != nil {
				t.Note(line)
			}
		},
		Login: machine.Login{User: user, Signer: d.signer},
	}
}

func (d *device) prove(ctx context.Context, m *machine.Machine, o Options) *Report {
	report := &Report{
		Artifact: filepath.Base(o.Artifact.XZPath), RawSHA256: o.Artifact.RawSHA256, Started: time.Now(),
		Machine: fmt.Sprintf("QEMU virt (%s), %d CPUs, %d MiB memory, %s disk, %s; booted: %s",
			d.spec.Accel, d.spec.CPUs, d.spec.MemoryMiB, mib(d.size), network(d.spec.Online), d.booted),
	}
	s := &Subject{Machine: m, Alive: m.Context(), Image: d.image, Disk: diskFile, DiskSize: d.size}
	r := runner{o: o, report: report, show: d.showing.Store}
	r.all(ctx, s)
	report.Took = time.Since(report.Started)
	return report
}

func network(online bool) string {
	if online {
		return "network of the host"
	}
	return "no internet"
}

// runner asks all checks of all phases.
type runner struct {
	o      Options
	report *Report
	show   func(*progress.Task)
	failed bool
	stuck  bool
}

func (r *runner) all(ctx context.Context, s *Subject) {
	for _, p := range r.o.Phases {
		for _, c := range p.Checks {
			r.one(ctx, s, p.Name, c)
		}
		r.stuck = r.failed // a later phase builds on an earlier one
	}
}

func (r *runner) one(ctx context.Context, s *Subject, phase string, c Check) {
	res := Result{Phase: phase, Check: c.Name, Asserts: c.Asserts, Status: Skipped}
	defer func() { r.report.Results = append(r.report.Results, res) }()
	if r.stuck || ctx.Err() != nil {
		return
	}
	bound := c.Bound
	if r.failed {
		bound = min(bound, afterFailure)
	}
	task := r.o.Reporter.Task(phase+": "+c.Name, 0)
	r.show(task)
	start := time.Now()
	stop := keepAlive(task)
	seen, err := ask(ctx, c, s, bound)
	stop()
	r.show(nil)
	task.End()
	res.Took, res.At = time.Since(start), time.Since(r.report.Started)
	if err != nil {
		res.Status, res.Error = Failed, err.Error()
		r.failed = true
		r.stuck = c.Vital || s.Alive.Err() != nil
		r.o.Reporter.Printf("%s: %s: FAILED: %s", phase, c.Name, shorten(res.Error))
		return
	}
	res.Status, res.Seen = Passed, seen
	r.o.Reporter.Printf("%s: %s: %s", phase, c.Name, shorten(seen))
}

// keepAlive lets a task show that time passes while the console is silent.
func keepAlive(task *progress.Task) (stop func()) {
	ticker, done := time.NewTicker(time.Second), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				task.Add(0)
			case <-done:
				return
			}
		}
	}()
	return func() { ticker.Stop(); close(done) }
}

// failure is the error of a proof that failed, with what helps to find out why.
func failure(report *Report, m *machine.Machine, o Options) error {
	port, _ := m.Addr("tcp", 22)
	_, port, _ = strings.Cut(port, ":")
	argv := machine.InteractiveArgv(m.Spec)
	return fmt.Errorf(`the boot proof failed:
%s
Console log, journal and lists are in %s. To open the very same machine again, with its console on the terminal (Ctrl-A X ends it):
  cd %s && %s
and from another terminal:
  ssh -i %s -p %s -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null %s@127.0.0.1`,
		strings.TrimRight(report.Failures(), "\n"), o.WorkDir,
		process.Quote([]string{m.Spec.Dir}), process.Quote(argv),
		process.Quote([]string{filepath.Join(m.Spec.Dir, keyFile)}), port, user)
}

func lock(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another boot proof runs in %s: wait for it, or use another directory", dir), f.Close())
	}
	return f.Close, nil
}

// sweep removes what the last run left: a failed one keeps its device for
// people, a killed one has no choice.
func sweep(dir string, rep *progress.Reporter) error {
	left, err := os.ReadDir(filepath.Join(dir, machinesDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(left) > 0 {
		rep.Printf("removing the device that an earlier boot proof left in %s", dir)
	}
	errs := []error{os.RemoveAll(filepath.Join(dir, machinesDir))}
	for _, name := range append(evidenceFiles(), consoleLog, "report.json", "junit.xml") {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}
