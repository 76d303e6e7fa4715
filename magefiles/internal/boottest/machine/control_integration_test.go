//go:build integration

package machine

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

var ticks = regexp.MustCompile(`^tick$`)

func TestAFrozenMachineGoesOn(t *testing.T) {
	m := startBare(t, "tick\r\n", tick)
	ctx, cancel := m.Within(t.Context(), within)
	defer cancel()
	if _, err := m.Console.Expect(ticks).Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Freeze(context.WithoutCancel(ctx), "mem ory"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(m.Spec.Dir, "mem ory.partial")); !os.IsNotExist(err) {
		t.Errorf("something half-written is left: %v", err)
	}
	spec := m.Spec
	spec.Memory = "mem ory"
	again, err := Start(t.Context(), spec, Options{ConsoleLog: filepath.Join(spec.Dir, "console.log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	on, stop := Within(t.Context(), context.Background(), within)
	defer stop()
	// What it prints next is the rest of what it was printing.
	if _, err := again.Console.Expect(ticks).Wait(on); err != nil {
		t.Fatal(err)
	}
}

func TestKeepDiskLeavesWhatWasOnIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kernel"), bareKernel(boots, hang), 0o644); err != nil {
		t.Fatal(err)
	}
	create := process.Cmd{Argv: []string{"qemu-img", "create", "-q", "-f", "qcow2", "device.qcow2", "1M"}, Dir: dir}
	if err := create.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, err := Start(t.Context(), Spec{Name: "bare", Dir: dir, CPUs: 1, MemoryMiB: 64, Kernel: "kernel", Disk: "device.qcow2", Unplugged: true},
		Options{ConsoleLog: filepath.Join(dir, "console.log")})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx, cancel := m.Within(t.Context(), within)
	defer cancel()
	for _, next := range []string{"one.qcow2", "two.qcow2"} {
		if err := m.KeepDisk(ctx, next); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.SetLink(ctx, true); err != nil {
		t.Errorf("plugging the cable in: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := process.Output(t.Context(), "qemu-img", "info", "--backing-chain", filepath.Join(dir, "two.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{"backing file: one.qcow2", "backing file: device.qcow2"} {
		if !strings.Contains(out, below) {
			t.Errorf("%s is not in the chain:\n%s", below, out)
		}
	}
}
