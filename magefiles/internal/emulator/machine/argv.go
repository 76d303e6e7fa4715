// Package machine runs a QEMU ARM64 machine and talks to it: its console, its
// monitor, a root shell over SSH and its network services. It knows nothing of
// what should be true of the guest.
package machine

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
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

// Spec is everything QEMU is told about a machine. File names are relative to
// Dir: it is the working directory of QEMU, so that no path can be too long for
// a socket or hold a character that means something in a QEMU option.
type Spec struct {
	Name      string
	Dir       string
	Accel     Accel
	CPUs      int
	MemoryMiB int
	Kernel    string
	Initrd    string // "" for none
	Cmdline   string
	Disk      string // qcow2, "" for none
	// DiskCache is QEMU's cache mode of the disk; "" means unsafe, which ignores
	// the guest's flushes: right for a device that is thrown away.
	DiskCache string
	Forwards  []Forward
	// Online lets the guest reach what this host reaches. Without it only the
	// forwarded ports work, so a guest that needs the internet shows it.
	Online bool
}

// Forward is a port of the guest that is reachable at 127.0.0.1:Host.
type Forward struct {
	Proto string // tcp or udp
	Guest int
	Host  int // 0: chosen when the machine starts
}

// Argv is the command that runs the machine with its serial console on standard
// output and its monitor on a socket in Dir.
func Argv(s Spec) []string {
	return append(common(s),
		"-chardev", "stdio,id=console,signal=off",
		"-serial", "chardev:console",
		"-qmp", "unix:"+qmpSocket+",server=on,wait=off",
	)
}

// InteractiveArgv is the command that runs the same machine for a person: its
// serial console and monitor (Ctrl-A C) are on the terminal.
func InteractiveArgv(s Spec) []string {
	return append(common(s), "-serial", "mon:stdio")
}

func common(s Spec) []string {
	argv := []string{program, "-name", s.Name, "-nodefaults", "-no-user-config", "-display", "none"}
	if s.Accel == KVM {
		argv = append(argv, "-machine", "virt,gic-version=host", "-accel", "kvm", "-cpu", "host")
	} else {
		argv = append(argv, "-machine", "virt,gic-version=3", "-accel", "tcg,thread=multi", "-cpu", "cortex-a72")
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
		cache := s.DiskCache
		if cache == "" {
			cache = "unsafe"
		}
		argv = append(argv,
			"-drive", "if=none,id=disk,file="+s.Disk+",format=qcow2,discard=unmap,cache="+cache,
			"-device", "virtio-blk-pci,drive=disk",
		)
	}
	var netdev strings.Builder
	netdev.WriteString("user,id=net")
	if !s.Online {
		netdev.WriteString(",restrict=on")
	}
	for _, f := range s.Forwards {
		fmt.Fprintf(&netdev, ",hostfwd=%s:127.0.0.1:%d-:%d", f.Proto, f.Host, f.Guest)
	}
	// romfile= is empty: a machine that boots a kernel directly needs no network
	// boot ROM, and those are in yet another package.
	return append(argv,
		"-netdev", netdev.String(),
		"-device", "virtio-net-pci,netdev=net,romfile=",
		"-device", "virtio-rng-pci",
	)
}
