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

	"github.com/cubeos-app/releases/magefiles/internal/emulator/machine"
	"github.com/cubeos-app/releases/magefiles/internal/emulator/media"
	"github.com/cubeos-app/releases/magefiles/internal/progress"
)

const (
	user     = "cubeos"
	keyFile  = "id_ed25519"
	diskFile = "device.qcow2"
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

// device is all that a machine is started from, in a directory of its own.
type device struct {
	spec     machine.Spec
	keyPath  string
	signer   ssh.Signer
	size     int64
	user     string // who logs in
	booted   string // the names of the kernel and initramfs on the boot partition
	evidence string

	showing atomic.Pointer[progress.Task] // what the console's lines are shown with
}

func (s *session) machineDir(name string) string {
	return filepath.Join(s.o.WorkDir, machinesDir, name)
}

// flashed makes a device as it is before its first boot.
func (s *session) flashed(ctx context.Context, sc Scenario) (_ *device, err error) {
	dir := s.machineDir(sc.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	boot, err := s.image.Extract(ctx, dir)
	if err != nil {
		return nil, err
	}
	d := &device{
		keyPath: filepath.Join(dir, keyFile), user: orDefault(sc.Device.User, user), booted: boot.From,
		size:     cardSize(sc.Device, s.image.Size),
		evidence: filepath.Join(s.o.WorkDir, sc.Name),
	}
	if d.signer, err = newKey(d.keyPath); err != nil {
		return nil, fmt.Errorf("making a key to log in with: %w", err)
	}
	seed := media.Seed{
		InstanceID:    fmt.Sprintf("%s-%d", sc.Name, time.Now().UnixMilli()),
		User:          d.user,
		AuthorizedKey: string(ssh.MarshalAuthorizedKey(d.signer.PublicKey())),
		Cmdline:       boot.Cmdline,
	}
	customise := sc.Device.Customise
	if customise == nil {
		customise = media.Seed.CloudInit
	}
	files := customise(seed)
	if err := s.image.NewOverlay(ctx, dir, diskFile, d.size, files); err != nil {
		return nil, err
	}
	d.spec = machine.Spec{
		Name: user, Dir: dir, Accel: machine.DetectAccel(), CPUs: s.o.CPUs,
		MemoryMiB: orDefault(sc.Device.MemoryMiB, s.o.MemoryMiB),
		Kernel:    boot.Kernel, Initrd: boot.Initrd, Cmdline: cmdline(boot.CmdlineWith(files), !sc.Device.NoRadio), Disk: diskFile,
		Forwards: forwards, Online: s.o.Online, Unplugged: sc.Device.Unplugged,
		Clock: sc.Device.Clock, Watchdog: sc.Device.Watchdog, Capture: captureFor(sc.Name),
	}
	return d, nil
}

// captureFor is where the network capture of a scenario goes, seen from a
// machine's directory.
func captureFor(scenario string) string {
	return filepath.Join("..", "..", scenario, Capture)
}

// over makes a device in dir whose disk is an overlay over that of another one,
// which has to stay as it is.
func (d *device) over(ctx context.Context, dir, disk string) (_ *device, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	below, err := filepath.Rel(dir, d.spec.Dir)
	if err != nil {
		return nil, err
	}
	if err := media.Overlay(ctx, dir, diskFile, filepath.Join(below, disk)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	up := &device{spec: d.spec, keyPath: d.keyPath, signer: d.signer, user: d.user, size: d.size, booted: d.booted, evidence: d.evidence}
	up.spec.Dir, up.spec.Disk = dir, diskFile
	up.spec.Kernel = filepath.Join(below, d.spec.Kernel)
	if d.spec.Initrd != "" {
		up.spec.Initrd = filepath.Join(below, d.spec.Initrd)
	}
	if d.spec.Memory != "" {
		up.spec.Memory = filepath.Join(below, d.spec.Memory)
	}
	return up, nil
}

// emulated is what the emulated device needs beyond the image's own command line:
// its serial port, and the patience of a machine that is ten times slower than the
// one systemd's 90 seconds are meant for.
const emulated = " console=ttyAMA0 systemd.default_device_timeout_sec=450 systemd.default_timeout_start_sec=450"

// radio stands for the Pi's own.
const radio = " modules_load=mac80211_hwsim"

func cmdline(own string, withRadio bool) string {
	line := own + emulated
	if withRadio {
		line += radio
	}
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

func (d *device) start(ctx context.Context) (*machine.Machine, error) {
	if err := os.MkdirAll(d.evidence, 0o755); err != nil {
		return nil, err
	}
	return machine.Start(ctx, d.spec, machine.Options{
		ConsoleLog: filepath.Join(d.evidence, ConsoleLog),
		Follow: func(line string) {
			if t := d.showing.Load(); t != nil {
				t.Note(line)
			}
		},
		Login: machine.Login{User: d.user, Signer: d.signer},
	})
}

func (d *device) describe() string {
	network := "no internet"
	if d.spec.Online {
		network = "network of the host"
	}
	return fmt.Sprintf("QEMU virt (%s), %d CPUs, %d MiB memory, %d MiB disk, %s; booted: %s",
		d.spec.Accel, d.spec.CPUs, d.spec.MemoryMiB, d.size>>20, network, d.booted)
}
