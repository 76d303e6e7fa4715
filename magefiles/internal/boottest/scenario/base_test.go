package scenario

import (
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

func TestJudgeSockets(t *testing.T) {
	const golden = `# proto address port process why

tcp  0.0.0.0    22    sshd   logins
tcp  [::]       22    sshd   logins
udp  127.0.0.1  7946  dockerd gossip
udp  0.0.0.0    4789  -      overlay
`
	const out = `udp UNCONN 0      0        0.0.0.0:4789 0.0.0.0:*
udp UNCONN 0      0      127.0.0.1:7946 0.0.0.0:* users:(("dockerd",pid=594,fd=31))
tcp LISTEN 0      128      0.0.0.0:22   0.0.0.0:* users:(("sshd",pid=550,fd=6))
tcp LISTEN 0      128         [::]:22      [::]:* users:(("sshd",pid=550,fd=7))
`
	for _, tt := range []struct {
		name, out, err string
	}{
		{name: "as meant", out: out},
		{name: "one too many", out: out + `tcp LISTEN 0 128 *:111 *:* users:(("rpcbind",pid=1,fd=4))`, err: "not meant to listen: tcp * 111 rpcbind"},
		{name: "one too few", out: strings.Replace(out, ":4789 ", ":4790 ", 1), err: "does not listen: udp 0.0.0.0 4789 -"},
		{name: "another process", out: strings.Replace(out, "dockerd", "podman", 1), err: "not meant to listen: udp 127.0.0.1 7946 podman"},
		{name: "to every network", out: strings.Replace(out, "127.0.0.1:7946", "*:7946", 1), err: "not meant to listen: udp * 7946 dockerd"},
		{name: "nothing", err: "does not listen: tcp 0.0.0.0 22 sshd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, err := judgeSockets(tt.out, golden)
			if tt.err == "" && (err != nil || seen != "4 sockets, all meant") {
				t.Errorf("got %q, %v", seen, err)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

// TestGoldenSockets wants every line of the list to be read and to give a reason.
func TestGoldenSockets(t *testing.T) {
	for line := range strings.Lines(socketsGolden) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && len(strings.Fields(line)) < 5 {
			t.Errorf("%q is no socket with a reason", line)
		}
	}
}

func TestExplainedErrors(t *testing.T) {
	if _, err := parseExplained(journalGolden); err != nil {
		t.Errorf("golden/journal.txt: %v", err)
	}
	if _, err := parseExplained("# about\n\nno reason\n"); err == nil || !strings.Contains(err.Error(), "not explained") {
		t.Errorf("an expression without a reason: %v", err)
	}
	explained, err := parseExplained("# about\n# this file\n\n# it is known to be slow\ndevice \\w+ is slow$\n")
	if err != nil || len(explained) != 1 {
		t.Fatalf("%d expressions, %v", len(explained), err)
	}
	seen, err := judgeErrors("[ 1.2] kernel: device sda is slow\n", explained)
	if err != nil || seen != "1, all explained" {
		t.Errorf("got %q, %v", seen, err)
	}
	_, err = judgeErrors("[ 1.2] kernel: device sda is slow\n[ 1.3] kernel: device sda is dead\n", explained)
	if err == nil || !boottest.IsFinal(err) || strings.Contains(err.Error(), "slow") || !strings.Contains(err.Error(), "is dead") {
		t.Errorf("got %v", err)
	}
	if seen, err := judgeErrors("", explained); err != nil || seen != "0, all explained" {
		t.Errorf("got %q, %v", seen, err)
	}
}

func TestMemoryJudges(t *testing.T) {
	for _, tt := range []struct{ name, out, err string }{
		{"half", "1033895936\n2067447808", ""},
		{"at most 2 GiB", "2147483648\n8589934592", ""},
		{"of another machine", "4294967296\n2067447808", "expected 985 MiB"},
		{"no zram", "2067447808", "expected 2"},
	} {
		if _, err := judgeZram(tt.out); tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("zram, %s: got %v, want %q", tt.name, err, tt.err)
		}
	}
	if seen, err := judgeMemory("2067447808\n1761247232", 350e6); err != nil || seen != "306 MB used of 2067 MB" {
		t.Errorf("got %q, %v", seen, err)
	}
	if _, err := judgeMemory("2067447808\n1661247232", 350e6); err == nil {
		t.Error("406 MB are not too much")
	}
}
