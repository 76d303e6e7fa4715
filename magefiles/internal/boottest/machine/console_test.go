package machine

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConsoleSeesTrouble(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
	}{
		{"panic", "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n", "the kernel panicked"},
		{"initramfs shell, a prompt without newline", "BusyBox v1.37\r\n\x1b[1m(initramfs) ", "the initramfs gave up and opened a shell"},
		{"a program for another processor", "[   61.2] request_module: modprobe binfmt-464c cannot be processed, kmod busy with 50 threads\n", "a program in the image, perhaps modprobe itself, is for another kind of processor"},
		{"no root", "Gave up waiting for root file system device.  Common problems:\n", "the initramfs did not find the root file system"},
		{"emergency", "You are in emergency mode. After logging in, type \"journalctl -xb\"\n", "systemd went into emergency mode"},
		{"locked root", "\nCannot open access to console, the root account is locked.\n", "systemd went into emergency mode"},
		{"a login prompt is no trouble", "Debian GNU/Linux 13 cubeos ttyAMA0\n\ncubeos login: ", ""},
		{"the word alone is no trouble", "Loading initial ramdisk (initramfs) ...\nReached target emergency-ready\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, len(tt.text)} {
				var got []string
				c := &Console{trouble: func(m string) { got = append(got, m) }}
				for chunk := range strings.SplitSeq(tt.text, "") {
					if size > 1 {
						chunk = tt.text
					}
					if _, err := c.Write([]byte(chunk)); err != nil {
						t.Fatal(err)
					}
					if size > 1 {
						break
					}
				}
				if strings.Join(got, "|") != tt.want {
					t.Errorf("in writes of %d bytes: told %q, want %q", size, got, tt.want)
				}
			}
		})
	}
}

func TestConsoleLines(t *testing.T) {
	var log bytes.Buffer
	c := &Console{log: &log}
	const text = "\x1b[2J\x1b[01;01H[    0.0] Booting Linux on physical CPU 0x0\r\n\r\n[\x1b[0;32m  OK  \x1b[0m] Started x.\r\nlogin: "
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	want := []string{"[    0.0] Booting Linux on physical CPU 0x0", "[  OK  ] Started x.", "login:"}
	if diff := cmp.Diff(want, c.Last(10)); diff != "" {
		t.Errorf("last lines (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:], c.Last(2)); diff != "" {
		t.Errorf("last two lines (-want +got):\n%s", diff)
	}
	if log.String() != text {
		t.Errorf("the log holds %q, want all that was printed", log.String())
	}
	if c.Boots() != 1 {
		t.Errorf("it has counted %d boots, want 1", c.Boots())
	}
}

func TestExpectCountsOnlyWhatComes(t *testing.T) {
	c := &Console{}
	printed := func(s string) { _, _ = c.Write([]byte(s)) }
	printed("mark 1\n")
	e := c.Expect(regexp.MustCompile(`mark \d`))
	never := c.Expect(regexp.MustCompile(`never`))
	printed("something else\nmark 2\nmark 3\n")
	if line, err := e.Wait(t.Context()); err != nil || line != "mark 2" {
		t.Errorf("got %q, %v, want mark 2", line, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the machine burns")
	cancel(cause)
	if _, err := never.Wait(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestALongLineIsTakenForSeveral(t *testing.T) {
	var lines []string
	c := &Console{follow: func(line string) { lines = append(lines, line) }}
	for range 3*longestLine + 10 { // as a device might that sends a byte at a time
		_, _ = c.Write([]byte("x"))
	}
	_, _ = c.Write([]byte("\n"))
	var lengths []int
	for _, line := range lines {
		lengths = append(lengths, len(line))
	}
	if diff := cmp.Diff([]int{longestLine, longestLine, longestLine, 10}, lengths); diff != "" {
		t.Errorf("lengths of the lines (-want +got):\n%s", diff)
	}
}

// BenchmarkConsoleByte writes lines of two lengths a byte at a time: a byte costs no
// more in a line without an end.
func BenchmarkConsoleByte(b *testing.B) {
	for name, length := range map[string]int{"lines": 80, "endless": 1 << 30} {
		b.Run(name, func(b *testing.B) {
			c := &Console{}
			for n := range b.N {
				p := []byte("x")
				if n%length == length-1 {
					p = []byte("\n")
				}
				_, _ = c.Write(p)
			}
		})
	}
}
