package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// afterTrouble is how long the console is still followed after it has shown
// trouble, so that the lines which explain it are there too.
const afterTrouble = 2 * time.Second

// Login is the user that Run works as; it must be allowed to use sudo.
type Login struct {
	User   string
	Signer ssh.Signer
}

// Options are what the caller of Start wants to see and how it logs in.
type Options struct {
	ConsoleLog string            // a file that gets all the console prints, added to its end
	Follow     func(line string) // called for every console line; must not block
	Login      Login
	// Firmware is asked at every restart what the machine boots then; nil boots the
	// same again. The disk is nobody's while it reads it.
	Firmware func(ctx context.Context, disk string) (Boot, error)
}

// Boot is what a machine boots. File names are relative to the machine's Dir.
type Boot struct {
	Kernel  string
	Initrd  string // "" for none
	Cmdline string
}

// Machine is a running QEMU.
type Machine struct {
	*remote.Device // its ports are those that are forwarded

	Spec    Spec // as started at first: every forward has its host port
	Console *Console

	ctx       context.Context
	fail      context.CancelCauseFunc
	stop      context.CancelFunc
	done      chan struct{}
	exit      error
	log       *os.File
	keyboard  keyboard
	firmware  func(ctx context.Context, disk string) (Boot, error)
	allowed   atomic.Int64 // boots that are expected
	leaving   atomic.Bool  // QEMU's end is expected
	unplugged atomic.Bool
	close     sync.Once

	mu     sync.Mutex
	latest Spec // as started last
}

// Start starts the machine. When ctx ends, or this process does, QEMU ends too.
// Close must be called.
func Start(ctx context.Context, spec Spec, opts Options) (*Machine, error) {
	forwards, err := choosePorts(spec.Forwards)
	if err != nil {
		return nil, err
	}
	spec.Forwards = forwards
	log, err := os.OpenFile(opts.ConsoleLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the console log: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(spec.Dir, qmpSocket)); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	keyboard, err := newKeyboard()
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	m := &Machine{Spec: spec, latest: spec, done: make(chan struct{}), log: log, keyboard: keyboard, firmware: opts.Firmware}
	m.Device = remote.New(remote.Config{
		User: opts.Login.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(opts.Login.Signer)}, Addr: m.forwardedTo, Behind: GuestAddress,
	})
	if spec.Memory == "" {
		m.allowed.Store(1)
	}
	m.unplugged.Store(spec.Unplugged)
	m.ctx, m.fail = context.WithCancelCause(ctx)
	// The guest failing must not end QEMU: its console and its disk are wanted.
	procCtx, stop := context.WithCancel(ctx)
	m.stop = stop
	m.Console = &Console{
		log: log, follow: opts.Follow,
		trouble: func(meaning string) {
			time.AfterFunc(afterTrouble, func() { m.fail(m.withConsole(errors.New(meaning))) })
		},
	}
	go func() {
		defer close(m.done)
		m.exit = m.emulate(procCtx)
		if m.leaving.Load() {
			m.fail(errors.New("the machine is off"))
			return
		}
		m.fail(m.withConsole(m.exit))
	}()
	if err := m.prepare(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// emulate runs QEMU until the machine is off. At every restart QEMU ends and is started
// anew, with what a Pi's firmware would then find on the card.
func (m *Machine) emulate(ctx context.Context) error {
	for spec := m.Latest(); ; {
		err := process.Cmd{Argv: Argv(spec), Dir: spec.Dir, Stdin: m.keyboard.keys, Stdout: m.Console}.Run(ctx)
		switch {
		case m.leaving.Load():
			return err
		case err != nil:
			return fmt.Errorf("QEMU ended: %w", err)
		case int64(m.Console.Boots()) >= m.allowed.Load():
			return errors.New("the guest restarted or powered off although nothing had asked it to")
		}
		if spec, err = m.again(ctx); err != nil {
			return fmt.Errorf("the machine does not start again: %w", err)
		}
	}
}

// again says what is started after a restart.
func (m *Machine) again(ctx context.Context) (Spec, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	spec := m.latest
	spec.Memory = ""
	if m.firmware != nil {
		boot, err := m.firmware(ctx, spec.Disk)
		if err != nil {
			return spec, err
		}
		spec.Kernel, spec.Initrd, spec.Cmdline = boot.Kernel, boot.Initrd, boot.Cmdline
	}
	if err := os.RemoveAll(filepath.Join(spec.Dir, qmpSocket)); err != nil {
		return spec, err
	}
	if m.unplugged.Load() {
		go func() {
			if err := m.pullOut(ctx); err != nil {
				m.fail(err)
			}
		}()
	}
	m.latest = spec
	return spec, nil
}

// Latest is what was started last: not Spec, once the machine has restarted.
func (m *Machine) Latest() Spec {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest
}

func (m *Machine) withConsole(err error) error {
	lines := m.Console.Last(15)
	if len(lines) == 0 {
		return fmt.Errorf("%w; the console printed nothing", err)
	}
	return fmt.Errorf("%w; the console's last lines (all are in %s):\n    %s", err, m.log.Name(), strings.Join(lines, "\n    "))
}

// Context ends, with the reason as its cause, as soon as the machine is known to
// be of no more use: QEMU ended, the kernel panicked, the boot stopped in an
// emergency shell. Every wait for the guest should be under it.
func (m *Machine) Context() context.Context { return m.ctx }

// Within returns a context for one wait: it ends with ctx, after d, or with the
// machine.
func (m *Machine) Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return Within(ctx, m.ctx, d)
}

// Within returns a context that ends with ctx, with alive, or after d; its cause
// says which it was.
func Within(ctx, alive context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("not within %s", d))
	ctx, fail := context.WithCancelCause(ctx)
	detach := context.AfterFunc(alive, func() { fail(context.Cause(alive)) })
	return ctx, func() { detach(); fail(nil); cancel() }
}

// Reset is the reset button: the guest gets no chance to write anything.
func (m *Machine) Reset(ctx context.Context) error {
	m.allowed.Add(1)
	m.Disconnect()
	_, err := monitor(ctx, m.Spec.Dir, "system_reset", nil)
	return err
}

// AllowRestart says that the guest may restart once more by itself, and returns
// what waits for it.
func (m *Machine) AllowRestart() *Expectation {
	m.allowed.Add(1)
	m.Disconnect()
	return m.Console.Expect(bootLine)
}

// Restart does what makes the guest restart and returns when its kernel starts again.
func (m *Machine) Restart(ctx context.Context, how func(context.Context) error) error {
	restarted := m.AllowRestart()
	if err := how(ctx); err != nil {
		return err
	}
	m.Disconnect()
	if _, err := restarted.Wait(ctx); err != nil {
		return fmt.Errorf("restarting: %w", err)
	}
	return nil
}

// Reboot asks the guest to restart and returns when its kernel starts again.
func (m *Machine) Reboot(ctx context.Context) error {
	return m.Restart(ctx, func(ctx context.Context) error { return m.Leave(ctx, "reboot") })
}

// PowerOff asks the guest to shut down and returns when the machine is off.
func (m *Machine) PowerOff(ctx context.Context) error {
	m.leaving.Store(true)
	if err := m.Leave(ctx, "poweroff"); err != nil {
		return err
	}
	select {
	case <-m.done:
		if m.exit != nil {
			return fmt.Errorf("powering off: %w", m.exit)
		}
		return nil
	case <-ctx.Done():
		return m.withConsole(fmt.Errorf("waiting for the machine to power off: %w", context.Cause(ctx)))
	}
}

// Close ends QEMU if it still runs: politely, so that the disk keeps what the
// guest has written, and by force after some seconds. It is safe to call twice.
func (m *Machine) Close() error {
	var err error
	m.close.Do(func() {
		m.leaving.Store(true)
		m.Disconnect()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), 10*time.Second)
		defer cancel()
		if _, quitErr := monitor(ctx, m.Spec.Dir, "quit", nil); quitErr == nil {
			select {
			case <-m.done:
			case <-ctx.Done():
			}
		}
		m.stop()
		<-m.done
		m.fail(errors.New("the machine is off"))
		err = errors.Join(m.keyboard.close(), m.log.Close())
	})
	return err
}
