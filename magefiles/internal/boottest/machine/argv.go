// Package machine runs a QEMU ARM64 machine and talks to it: its console, its
// monitor, a root shell over SSH and its network services. It knows nothing of
// what should be true of the guest.
package machine

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

const (
	program   = "qemu-system-aarch64"
	qmpSocket = "qmp.sock"
)

// Accel is how guest instructions are run.
type Accel string

// TCG translates instructions and works everywhere; KVM runs them on the CPU.
const (
	TCG Accel = "tcg"
	KVM Accel = "kvm"
)

// DetectAccel returns KVM on an arm64 host whose /dev/kvm this process may use.
func DetectAccel() Accel {
	if runtime.GOARCH != "arm64" {
		return TCG
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return TCG
	}
	_ = f.Close()
	return KVM
}

// Board is the hardware that QEMU models.
type Board string

// Virt has devices made for emulation. Pi4 is a Raspberry Pi 4 as far as QEMU
// knows it, from 9.0 on: always emulated, with four processors and 2 GiB of
// memory, its card in a USB reader, since the SD slot's voltages are switched by
// firmware calls that it does not have, and without a network. Pi3 is a Raspberry
// Pi 3, which every QEMU has: four processors, 1 GiB, a card in its slot whose size
// has to be a power of two, and a network card on USB.
const (
	Virt Board = ""
	Pi4  Board = "raspi4b"
	Pi3  Board = "raspi3b"
)

// Offered reports whether this host's QEMU has a board.
func Offered(ctx context.Context, b Board) (bool, error) {
	if b == Virt {
		return true, nil
	}
	out, err := process.Output(ctx, program, "-machine", "help")
	if err != nil {
		return false, fmt.Errorf("asking QEMU for its boards: %w", err)
	}
	return slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
		return strings.HasPrefix(line, string(b)+" ")
	}), nil
}

// Spec is everything QEMU is told about a machine. File names are relative to
// Dir: it is the working directory of QEMU, so that no path can be too long for
// a socket or hold a character that means something in a QEMU option.
type Spec struct {
	Name      string
	Dir       string
	Board     Board
	Accel     Accel
	CPU       string // QEMU's name of an emulated processor; "" is a Raspberry Pi 4's
	CPUs      int
	MemoryMiB int
	Kernel    string
	Initrd    string // "" for none
	Cmdline   string
	// DeviceTree is a file for a Board whose device tree QEMU does not make itself.
	DeviceTree string
	Disk       string // qcow2, "" for none
	Modules    string // raw, read-only, the second disk, "" for none
	Forwards   []Forward
	// Capture is a file that gets all that eth0 sends and receives, as pcap; "" for
	// none.
	Capture string
	// Unplugged leaves eth0 without a carrier until SetLink gives it one.
	Unplugged bool
	Watchdog  bool   // a watchdog on the PCI bus
	Clock     string // what the real-time clock shows at the start, as in 1970-01-01T00:00:00; "" is now
	// Memory is a file that Freeze wrote: the machine goes on from there instead
	// of booting. Hardware and disk have to be those of that moment.
	Memory string
}

// Forward is a port of the guest that is reachable at 127.0.0.1:Host.
type Forward struct {
	Proto string // tcp or udp
	Guest int
	Host  int // 0: chosen when the machine starts
}

// Argv is the command that runs the machine with its serial console on standard
// input and output and its monitor on a socket in Dir. QEMU ends when the guest
// restarts.
func Argv(s Spec) []string {
	argv := append(common(s), "-no-reboot", "-chardev", "stdio,id=console,signal=off")
	argv = append(argv, serial(s, "chardev:console")...)
	return append(argv, "-qmp", "unix:"+qmpSocket+",server=on,wait=off")
}

// InteractiveArgv is the command that runs the same machine for a person: its
// serial console and monitor (Ctrl-A C) are on the terminal. One that goes on from
// its memory leaves its disk as it is, so that it can be opened again.
func InteractiveArgv(s Spec) []string {
	argv := append(common(s), serial(s, "mon:stdio")...)
	if s.Memory != "" {
		argv = append(argv, "-snapshot")
	}
	return argv
}

func common(s Spec) []string {
	argv := []string{program, "-name", s.Name, "-nodefaults", "-no-user-config", "-display", "none"}
	switch {
	case s.Board != Virt:
		argv = append(argv, "-machine", string(s.Board), "-accel", "tcg,thread=multi", "-dtb", s.DeviceTree)
	case s.Accel == KVM:
		argv = append(argv, "-machine", "virt,gic-version=host", "-accel", "kvm", "-cpu", "host")
	default:
		argv = append(argv, "-machine", "virt,gic-version=3", "-accel", "tcg,thread=multi", "-cpu", cmp.Or(s.CPU, "cortex-a72"))
	}
	argv = append(argv,
		"-smp", strconv.Itoa(s.CPUs),
		"-m", strconv.Itoa(s.MemoryMiB),
		"-kernel", s.Kernel,
	)
	if s.Initrd != "" {
		argv = append(argv, "-initrd", s.Initrd)
	}
	argv = append(argv, "-append", s.Cmdline)
	if s.Disk != "" {
		argv = append(argv, storage(s)...)
	}
	if s.Modules != "" {
		argv = append(argv, "-drive", "if=none,id=modules,file="+s.Modules+",format=raw,readonly=on", "-device", "virtio-blk-pci,drive=modules")
	}
	if s.Clock != "" {
		argv = append(argv, "-rtc", "base="+s.Clock+",clock=vm")
	}
	if s.Watchdog {
		argv = append(argv, "-device", "i6300esb")
	}
	if s.Memory != "" {
		argv = append(argv, "-incoming", "exec:cat "+process.Quote([]string{s.Memory}))
	}
	if s.Board == Pi4 {
		return argv
	}
	return append(argv, network(s)...)
}

// serial connects the port on which a board's kernel prints: the second one of a
// Pi, whose first is its Bluetooth's.
func serial(s Spec, target string) []string {
	if s.Board == Pi4 {
		return []string{"-serial", "null", "-serial", target}
	}
	return []string{"-serial", target}
}

// storage connects the card. The cache mode ignores the guest's flushes: right for a
// device that is thrown away.
func storage(s Spec) []string {
	file := "file=" + s.Disk + ",format=qcow2,discard=unmap,cache=unsafe"
	switch s.Board {
	case Pi3:
		return []string{"-drive", "if=sd,id=disk," + file}
	case Pi4:
		return []string{"-drive", "if=none,id=disk," + file, "-device", "usb-storage,drive=disk"}
	}
	return []string{"-drive", "if=none,id=disk," + file, "-device", "virtio-blk-pci,drive=disk"}
}

func network(s Spec) []string {
	// Restricted, only the forwarded ports work: a guest that needs the internet
	// shows it.
	var netdev strings.Builder
	netdev.WriteString("user,id=net,restrict=on")
	for _, f := range s.Forwards {
		fmt.Fprintf(&netdev, ",hostfwd=%s:127.0.0.1:%d-:%d", f.Proto, f.Host, f.Guest)
	}
	// romfile= is empty: a machine that boots a kernel directly needs no network
	// boot ROM, and those are in yet another package.
	argv := []string{"-netdev", netdev.String()}
	if s.Board == Pi3 {
		argv = append(argv, "-device", "usb-net,id=eth0,netdev=net")
	} else {
		argv = append(argv, "-device", "virtio-net-pci,id=eth0,netdev=net,romfile=", "-device", "virtio-rng-pci")
	}
	if s.Capture != "" {
		argv = append(argv, "-object", "filter-dump,id=capture,netdev=net,file="+s.Capture)
	}
	return argv
}
