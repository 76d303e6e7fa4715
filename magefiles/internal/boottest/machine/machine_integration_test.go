//go:build integration

package machine

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What a bare guest does when it has printed its text.
const (
	hang     = "hang"
	powerOff = "power off"
	restart  = "restart"
	tick     = "tick" // print it again, and again
)

// bareKernel is the smallest thing that QEMU takes for an arm64 Linux: it prints
// a text to the virt machine's serial port and then does one thing. The machine
// can so be tested in well under a second, with nothing to download.
func bareKernel(text, then string) []byte {
	const header = 64
	end := []uint32{0xd503207f, 0x17ffffff} // wfi; b .-4
	psci := func(function uint32) []uint32 {
		return []uint32{
			0x52800000 | function<<5, // movz w0, #function
			0x72b08000,               // movk w0, #0x8400, lsl 16
			0xd4000002,               // hvc #0
		}
	}
	switch then {
	case powerOff:
		end = append(psci(8), end...)
	case restart:
		end = append(psci(9), end...)
	case tick:
		end = []uint32{
			0xd2a00803,                             // movz x3, #0x40, lsl 16
			0xf1000463,                             // subs x3, x3, #1
			0x54ffffe1,                             // b.ne back to subs
			0x14000000 | (0x03ffffff & ^uint32(7)), // b back to adr
		}
	}
	code := []uint32{
		0xd2a12000,                             // movz x0, #0x900, lsl 16: the PL011
		0x10000001 | uint32(5+len(end))<<5,     // adr x1, text
		0x38401422,                             // ldrb w2, [x1], #1
		0x34000002 | 3<<5,                      // cbz w2, end
		0xb9000002,                             // str w2, [x0]
		0x14000000 | (0x03ffffff & ^uint32(2)), // b back to ldrb
	}
	image := make([]byte, header)
	binary.LittleEndian.PutUint32(image, 0x14000000|header/4)
	copy(image[56:], "ARM\x64")
	for _, op := range append(code, end...) {
		image = binary.LittleEndian.AppendUint32(image, op)
	}
	image = append(image, text...)
	image = append(image, 0)
	binary.LittleEndian.PutUint64(image[16:], uint64(len(image)))
	return image
}

func startBare(t *testing.T, text, then string) *Machine {
	t.Helper()
	// A directory name that a socket's path has no room for.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long,", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kernel"), bareKernel(text, then), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Start(t.Context(), Spec{
		Name: "bare", Dir: dir, Accel: TCG, CPUs: 1, MemoryMiB: 64, Kernel: "kernel",
		Forwards: []Forward{{Proto: "tcp", Guest: 22}, {Proto: "tcp", Guest: 80}},
	}, Options{ConsoleLog: filepath.Join(dir, "console.log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

const boots = "[    0.000000] Booting Linux on physical CPU 0x0\r\n"

// within is far more than any of these guests needs.
const within = 20 * time.Second

func TestTheEndOfAGuestIsSeenAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name, text, then, want string
	}{
		{"panic", boots + "Kernel panic - not syncing: no init\r\n", hang, "the kernel panicked"},
		{"initramfs shell", boots + "ALERT!  PARTUUID=1-02 does not exist.\r\n(initramfs) ", hang, "the initramfs gave up"},
		{"power off", boots, powerOff, "restarted or powered off although nothing had asked it to"},
		{"restart", boots, restart, "restarted or powered off although nothing had asked it to"},
		{"QEMU refuses to start", "", "no kernel", "QEMU ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := startBareOrBroken(t, tt.text, tt.then)
			ctx, cancel := m.Within(t.Context(), within)
			defer cancel()
			<-ctx.Done()
			err := context.Cause(ctx)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if tt.text != "" && !strings.Contains(err.Error(), "Booting Linux") {
				t.Errorf("the console's last lines are not in the error: %v", err)
			}
		})
	}
}

func startBareOrBroken(t *testing.T, text, then string) *Machine {
	t.Helper()
	if then != "no kernel" {
		return startBare(t, text, then)
	}
	dir := t.TempDir()
	m, err := Start(t.Context(), Spec{Name: "broken", Dir: dir, CPUs: 1, MemoryMiB: 64, Kernel: "missing"},
		Options{ConsoleLog: filepath.Join(dir, "console.log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestResetStartsAgain(t *testing.T) {
	m := startBare(t, boots+"up\r\n", hang)
	ctx, cancel := m.Within(t.Context(), within)
	defer cancel()
	waitForBoots(t, ctx, m, 1)
	again := m.Console.Expect(regexp.MustCompile(`^up$`))
	if err := m.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	waitForBoots(t, ctx, m, 2)
	time.Sleep(afterTrouble + 200*time.Millisecond)
	if err := context.Cause(m.Context()); err != nil {
		t.Errorf("a restart that was asked for ended the machine: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(m.Spec.Dir, "console.log"))
	if err != nil || strings.Count(string(log), "up\r\n") != 2 {
		t.Errorf("the console log holds %q (%v), want both starts", log, err)
	}
}

// TestARestartReadsTheCardAgain gives a restarting machine another kernel, and then
// a card that can not be read.
func TestARestartReadsTheCardAgain(t *testing.T) {
	dir := t.TempDir()
	for name, kernel := range map[string][]byte{"first": bareKernel(boots+"first\r\n", hang), "second": bareKernel(boots+"second\r\n", hang)} {
		if err := os.WriteFile(filepath.Join(dir, name), kernel, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	broken := errors.New("cmdline.txt is empty")
	var asked int
	m, err := Start(t.Context(), Spec{Name: "bare", Dir: dir, CPUs: 1, MemoryMiB: 64, Kernel: "first"}, Options{
		ConsoleLog: filepath.Join(dir, "console.log"),
		Firmware: func(context.Context, string) (Boot, error) {
			if asked++; asked > 1 {
				return Boot{}, broken
			}
			return Boot{Kernel: "second", Cmdline: "quiet"}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	ctx, cancel := m.Within(t.Context(), within)
	defer cancel()
	waitForBoots(t, ctx, m, 1)
	second := m.Console.Expect(regexp.MustCompile(`^second$`))
	if err := m.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got := m.Latest(); got.Kernel != "second" || got.Cmdline != "quiet" {
		t.Errorf("it boots %s %q", got.Kernel, got.Cmdline)
	}
	if err := m.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, broken) {
		t.Errorf("it ended with %v, want what is wrong with the card", err)
	}
}

func waitForBoots(t *testing.T, ctx context.Context, m *Machine, n int) {
	t.Helper()
	for m.Console.Boots() < n {
		select {
		case <-ctx.Done():
			t.Fatalf("%d boots, want %d: %v", m.Console.Boots(), n, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestASilentGuestIsNotWaitedForForever(t *testing.T) {
	m := startBare(t, boots, hang)
	booting, booted := m.Within(t.Context(), within)
	defer booted()
	waitForBoots(t, booting, m, 1)
	ctx, cancel := m.Within(t.Context(), time.Second)
	defer cancel()
	if _, err := m.Run(ctx, "true"); err == nil {
		t.Error("a guest without sshd ran a command")
	}
	if _, err := m.HTTP(ctx, "http", 80, "/"); err == nil {
		t.Error("a guest without a web server answered")
	}
}

func TestCancelEndsQEMU(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kernel"), bareKernel(boots, hang), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	m, err := Start(ctx, Spec{
		Name: "bare", Dir: dir, CPUs: 1, MemoryMiB: 64, Kernel: "kernel", Forwards: []Forward{{Proto: "tcp", Guest: 22}},
	}, Options{ConsoleLog: filepath.Join(dir, "console.log")})
	if err != nil {
		t.Fatal(err)
	}
	wait, stop := m.Within(t.Context(), within)
	defer stop()
	waitForBoots(t, wait, m, 1)
	cancel()
	<-m.done
	if !errors.Is(context.Cause(m.Context()), context.Canceled) {
		t.Errorf("the machine ended with %v", context.Cause(m.Context()))
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	addr, err := m.Addr("tcp", 22)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the forwarded port is still in use: %v", err)
	}
	_ = l.Close()
}
