package machine

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArgv(t *testing.T) {
	spec := Spec{
		Name: "cubeos", Dir: "/somewhere", Accel: TCG, CPUs: 2, MemoryMiB: 2048,
		Kernel: "kernel", Initrd: "initrd", Cmdline: "root=PARTUUID=1-02 rootwait", Disk: "device.qcow2",
		Forwards: []Forward{{Proto: "tcp", Guest: 22, Host: 40022}, {Proto: "udp", Guest: 53, Host: 40053}},
	}
	const start = "qemu-system-aarch64 -name cubeos -nodefaults -no-user-config -display none "
	const (
		tcg = "-machine virt,gic-version=3 -accel tcg,thread=multi -cpu cortex-a72 "
		kvm = "-machine virt,gic-version=host -accel kvm -cpu host "
	)
	const body = "-smp 2 -m 2048 -kernel kernel -initrd initrd -append root=PARTUUID=1-02 rootwait " +
		"-drive if=none,id=disk,file=device.qcow2,format=qcow2,discard=unmap,cache=unsafe -device virtio-blk-pci,drive=disk " +
		"-netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:40022-:22,hostfwd=udp:127.0.0.1:40053-:53 " +
		"-device virtio-net-pci,id=eth0,netdev=net,romfile= -device virtio-rng-pci"
	const batch = " -no-reboot -chardev stdio,id=console,signal=off -serial chardev:console -qmp unix:qmp.sock,server=on,wait=off"
	for _, tt := range []struct {
		name string
		spec func(Spec) Spec
		argv func(Spec) []string
		want string
	}{
		{"emulated", func(s Spec) Spec { return s }, Argv, start + tcg + body + batch},
		{"on an arm64 host", func(s Spec) Spec { s.Accel = KVM; return s }, Argv, start + kvm + body + batch},
		{"for a person", func(s Spec) Spec { return s }, InteractiveArgv, start + tcg + body + " -serial mon:stdio"},
		{
			"no disk, no initramfs",
			func(s Spec) Spec { return Spec{Name: "bare", CPUs: 1, MemoryMiB: 64, Kernel: "k"} },
			Argv,
			"qemu-system-aarch64 -name bare -nodefaults -no-user-config -display none " + tcg +
				"-smp 1 -m 64 -kernel k -append  -netdev user,id=net,restrict=on -device virtio-net-pci,id=eth0,netdev=net,romfile= -device virtio-rng-pci" + batch,
		},
		{
			"a special device that goes on from a moment",
			func(s Spec) Spec {
				s.Clock, s.Watchdog, s.Memory, s.Capture = "1970-01-01T00:00:00", true, "memory of it", "eth0.pcap"
				return s
			},
			Argv,
			start + tcg + strings.Replace(body, "-netdev", "-rtc base=1970-01-01T00:00:00,clock=vm -device i6300esb -incoming exec:cat 'memory of it' -netdev", 1) +
				" -object filter-dump,id=capture,netdev=net,file=eth0.pcap" + batch,
		},
		{
			"a Raspberry Pi 4",
			func(s Spec) Spec {
				return Spec{Name: "pi", Board: Pi4, CPUs: 4, MemoryMiB: 2048, Kernel: "k", DeviceTree: "dtb", Disk: "device.qcow2"}
			},
			Argv,
			"qemu-system-aarch64 -name pi -nodefaults -no-user-config -display none -machine raspi4b -accel tcg,thread=multi -dtb dtb " +
				"-smp 4 -m 2048 -kernel k -append  -drive if=none,id=disk,file=device.qcow2,format=qcow2,discard=unmap,cache=unsafe -device usb-storage,drive=disk" +
				" -no-reboot -chardev stdio,id=console,signal=off -serial null -serial chardev:console -qmp unix:qmp.sock,server=on,wait=off",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, strings.Join(tt.argv(tt.spec(spec)), " ")); diff != "" {
				t.Errorf("argv (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChoosePorts(t *testing.T) {
	in := []Forward{{Proto: "tcp", Guest: 53}, {Proto: "udp", Guest: 53}, {Proto: "tcp", Guest: 22, Host: 4022}, {Proto: "tcp", Guest: 80}}
	out, err := choosePorts(in)
	if err != nil {
		t.Fatal(err)
	}
	if in[0].Host != 0 {
		t.Error("the caller's forwards were changed")
	}
	used := map[Forward]bool{}
	for i, f := range out {
		if f.Proto != in[i].Proto || f.Guest != in[i].Guest || f.Host == 0 {
			t.Errorf("%+v became %+v", in[i], f)
		}
		if key := (Forward{Proto: f.Proto, Host: f.Host}); used[key] {
			t.Errorf("port %d/%s is used twice", f.Host, f.Proto)
		} else {
			used[key] = true
		}
	}
	if out[2].Host != 4022 {
		t.Errorf("a chosen port became %d", out[2].Host)
	}
	if _, err := choosePorts([]Forward{{Proto: "sctp", Guest: 1}}); err == nil {
		t.Error("an unknown protocol was accepted")
	}
}
