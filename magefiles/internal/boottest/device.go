package boottest

import (
	"cmp"
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

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const (
	user     = "cubeos"
	keyFile  = "id_ed25519"
	diskFile = "device.qcow2"
)

// forwards are the guest's ports that are asked from outside: SSH's, and all that
// services listen on. Those that only the device itself may reach are among them,
// for nobody gets in at a closed door only if there is a way to it.
func forwards(list services.List) []machine.Forward {
	all := []machine.Forward{{Proto: "tcp", Guest: 22}}
	for _, s := range list {
		for _, p := range s.Ports {
			for _, protocol := range p.Protocols {
				all = append(all, machine.Forward{Proto: protocol, Guest: p.Port})
			}
		}
	}
	return all
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

	image  *card.Image
	kernel KernelReport
	from   Device // what it is besides what a Spec says

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
		keyPath: filepath.Join(dir, keyFile), user: cmp.Or(sc.Device.User, user), booted: boot.From,
		size:  cardSize(sc.Device, s.image.Size),
		image: s.image, kernel: s.kernel, from: sc.Device,
		evidence: filepath.Join(s.o.WorkDir, sc.Name),
	}
	if d.signer, err = newKey(d.keyPath); err != nil {
		return nil, fmt.Errorf("making a key to log in with: %w", err)
	}
	seed := card.Seed{
		InstanceID:    fmt.Sprintf("%s-%d", sc.Name, time.Now().UnixMilli()),
		User:          d.user,
		AuthorizedKey: string(ssh.MarshalAuthorizedKey(d.signer.PublicKey())),
		Cmdline:       boot.Cmdline,
	}
	customise := sc.Device.Customise
	if customise == nil {
		customise = card.Seed.CloudInit
	}
	files := customise(seed)
	if err := s.image.NewOverlay(ctx, dir, diskFile, d.size, files); err != nil {
		return nil, err
	}
	d.spec = machine.Spec{
		Name: user, Dir: dir, Board: sc.Device.Board, Accel: machine.DetectAccel(), CPUs: cpus,
		MemoryMiB: cmp.Or(sc.Device.MemoryMiB, memoryMiB),
		Kernel:    boot.Kernel, Initrd: boot.Initrd, Cmdline: cmdline(boot.CmdlineWith(files), sc.Device), Disk: diskFile,
		Forwards: forwards(s.o.Services), Unplugged: sc.Device.Unplugged,
		Clock: sc.Device.Clock, Watchdog: sc.Device.Watchdog, Capture: captureFor(sc.Name),
	}
	if sc.Device.Board != machine.Virt {
		return d, s.raspberryPi(ctx, d, boot)
	}
	use := machine.Boot{Kernel: boot.Kernel, Initrd: boot.Initrd}
	d.kernel.apply(&use)
	d.spec.Kernel, d.spec.Initrd = use.Kernel, use.Initrd
	d.kernel.hardware(&d.spec)
	return d, nil
}

// raspberryPi makes a device one of QEMU's own models of a board, which boot nothing
// but the image's kernel.
func (s *session) raspberryPi(ctx context.Context, d *device, boot *card.Boot) error {
	d.kernel = KernelReport{Own: s.kernel.Own}
	d.spec.Accel, d.spec.CPUs, d.spec.DeviceTree = machine.TCG, 4, "device-tree"
	to := filepath.Join(d.spec.Dir, d.spec.DeviceTree)
	if d.spec.Board == machine.Pi4 {
		d.spec.MemoryMiB, d.spec.Forwards = 2048, nil
		return s.image.ExtractDeviceTree(ctx, to, boot.DeviceTreeFile)
	}
	d.spec.MemoryMiB, d.spec.Forwards = 1024, []machine.Forward{{Proto: "tcp", Guest: 22}}
	return s.image.ExtractDeviceTreeWithConsole(ctx, to)
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
	if err := card.Overlay(ctx, dir, diskFile, filepath.Join(below, disk)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	up := &device{
		spec: d.spec, keyPath: d.keyPath, signer: d.signer, user: d.user, size: d.size,
		booted: d.booted, evidence: d.evidence, image: d.image, kernel: d.kernel, from: d.from,
	}
	up.spec.Dir, up.spec.Disk = dir, diskFile
	if d.kernel.Test == nil {
		up.spec.Kernel = filepath.Join(below, d.spec.Kernel)
		if d.spec.Initrd != "" {
			up.spec.Initrd = filepath.Join(below, d.spec.Initrd)
		}
	}
	if d.spec.Memory != "" {
		up.spec.Memory = filepath.Join(below, d.spec.Memory)
	}
	return up, nil
}

// emulated is the patience of a machine that is ten times slower than the one
// systemd's 90 seconds are meant for.
const emulated = " systemd.default_device_timeout_sec=450 systemd.default_timeout_start_sec=450"

const pl011Console = " console=ttyAMA0"

// raspi3b is what a kernel needs to live with what QEMU's Raspberry Pi 3 lacks: the
// watchdog resets the machine when it is armed, and Raspberry Pi's own driver of the
// USB port counts on interrupts that it does not have.
const raspi3b = " earlycon=pl011,mmio32,0x3f201000 initcall_blacklist=bcm2835_wdt_driver_init dwc_otg.lpm_enable=0 dwc_otg.fiq_fsm_enable=0"

// raspi4b is what a kernel needs to live with what QEMU's Raspberry Pi 4 lacks.
// Touching HDMI's interrupts and I2C, which are not modelled, is fatal, and so is
// switching off clocks that seem unused. Arming the watchdog resets the machine at
// once. There is no port to log in at: the first serial one is Bluetooth's, and
// the second knows no interrupts, so only the kernel's early console prints, and
// what systemd and the journal hand to the kernel comes out there too.
const raspi4b = " initcall_blacklist=brcmstb_l2_driver_init,brcmstb_i2c_driver_init clk_ignore_unused modprobe.blacklist=bcm2835_wdt" +
	" earlycon keep_bootcon printk.devkmsg=on systemd.log_target=kmsg systemd.journald.forward_to_kmsg=1 systemd.journald.max_level_kmsg=info"

// radio stands for the Pi's own.
const radio = " modules_load=mac80211_hwsim"

func cmdline(own string, d Device) string {
	line := own
	switch d.Board {
	case machine.Pi4:
		line += raspi4b
	case machine.Pi3:
		line += raspi3b + pl011Console
	default:
		line += pl011Console
	}
	line += emulated
	if !d.NoRadio {
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
		Login:    machine.Login{User: d.user, Signer: d.signer},
		Firmware: d.firmware,
	})
}

// firmware reads from the card what a Pi's firmware would boot.
func (d *device) firmware(ctx context.Context, disk string) (machine.Boot, error) {
	boot, err := d.image.ExtractFrom(ctx, d.spec.Dir, disk)
	if err != nil {
		return machine.Boot{}, fmt.Errorf("reading the card as the firmware does: %w", err)
	}
	use := machine.Boot{Kernel: boot.Kernel, Initrd: boot.Initrd, Cmdline: cmdline(boot.Cmdline, d.from)}
	d.kernel.apply(&use)
	return use, nil
}

func (d *device) describe() string {
	network, board := "no internet", cmp.Or(string(d.spec.Board), "virt")
	if d.spec.Board == machine.Pi4 {
		network = "no network"
	}
	booted := d.booted
	if d.kernel.Test != nil {
		booted = "test kernel " + d.kernel.Test.Release
	}
	return fmt.Sprintf("QEMU %s (%s), %d CPUs, %d MiB memory, %d MiB disk, %s; booted: %s",
		board, d.spec.Accel, d.spec.CPUs, d.spec.MemoryMiB, d.size>>20, network, booted)
}
