package scenario

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

func TestJudgeSockets(t *testing.T) {
	l := services.List{
		{Name: "one", Kind: services.Compose, Ports: []services.Port{
			{Port: 53, Protocols: []string{"tcp", "udp"}, Reach: services.Network},
			{Port: 6005, Protocols: []string{"tcp"}, Reach: services.Device},
			{Port: 3000, Protocols: []string{"tcp"}, Reach: services.Blocked},
		}},
		{Name: "two", Kind: services.Stack, Ports: []services.Port{{Port: 6010, Protocols: []string{"tcp"}, Reach: services.Network}}},
		{Name: "three", Kind: services.Stack, Ports: []services.Port{{Port: 6011, Target: 80, Protocols: []string{"tcp"}, Reach: services.Network}}},
	}
	want := append(goldenSockets(`# proto address port process why

tcp  0.0.0.0    22    sshd     logins
tcp  [::]       22    sshd     logins
udp  127.0.0.1  7946  dockerd  gossip
udp  0.0.0.0    4789  -        overlay
`), serviceSockets(l)...)
	const (
		one = "1111111111111111111111111111111111111111111111111111111111111111"
		two = "2222222222222222222222222222222222222222222222222222222222222222"
	)
	const out = `socket udp UNCONN 0      0        0.0.0.0:4789 0.0.0.0:*
socket udp UNCONN 0      0      127.0.0.1:7946 0.0.0.0:* users:(("dockerd",pid=594,fd=31))
socket tcp LISTEN 0      128      0.0.0.0:22   0.0.0.0:* users:(("sshd",pid=550,fd=6))
socket tcp LISTEN 0      128         [::]:22      [::]:* users:(("sshd",pid=550,fd=7))
socket udp UNCONN 0      0              *:53         *:* users:(("pihole-FTL",pid=901,fd=7))
socket tcp LISTEN 0      32       0.0.0.0:53   0.0.0.0:* users:(("pihole-FTL",pid=901,fd=7))
socket tcp LISTEN 0      32          [::]:53      [::]:* users:(("pihole-FTL",pid=901,fd=8))
socket tcp LISTEN 0      128    127.0.0.1:6005 0.0.0.0:* users:(("worker",pid=903,fd=5),("worker",pid=902,fd=5))
socket tcp LISTEN 0      511            *:3000       *:* users:(("worker",pid=903,fd=6))
socket tcp LISTEN 0      128            *:6010       *:* users:(("api",pid=904,fd=5))
socket tcp LISTEN 0      128      0.0.0.0:6011 0.0.0.0:* users:(("docker-proxy",pid=700,fd=7))
socket tcp LISTEN 0      128         [::]:6011    [::]:* users:(("docker-proxy",pid=701,fd=7))
container ` + two + ` two_two.1.lhqnl2cvp8bmqfzbj6ms19g3v
container ` + one + ` cubeos-one
process 550
process 700
process 901 docker-` + one + `
process 902 docker-` + one + `
process 903 docker-` + one + `
process 904 docker/` + two + `
`
	for _, tt := range []struct{ name, from, to, err string }{
		{name: "as meant"},
		{name: "one too many", to: `socket tcp LISTEN 0 128 *:111 *:* users:(("rpcbind",pid=1,fd=4))`, err: "not meant to listen: tcp * 111 rpcbind"},
		{name: "one too few", from: ":4789 ", to: ":4790 ", err: "does not listen: udp 0.0.0.0 4789 -"},
		{name: "another process", from: "dockerd", to: "podman", err: "not meant to listen: udp 127.0.0.1 7946 podman"},
		{name: "to every network", from: "127.0.0.1:7946", to: "*:7946", err: "not meant to listen: udp * 7946 dockerd"},
		{name: "a service's port that only the device may reach", from: "127.0.0.1:6005", to: "0.0.0.0:6005", err: "not meant to listen: tcp * 6005 cubeos-one"},
		{name: "a service's port that is blocked", from: "*:3000", to: "127.0.0.1:3000", err: "does not listen: tcp * 3000 cubeos-one"},
		{name: "a service's port that the network may reach", from: "*:6010", to: "127.0.0.1:6010", err: "does not listen: tcp * 6010 two_two"},
		{name: "a published port", from: "[::]:6011", to: "[::1]:6011", err: "not meant to listen: tcp [::1] 6011 docker-proxy"},
		{name: "a program of the device at a service's port", from: "process 904 docker/" + two, to: "process 904", err: "not meant to listen: tcp * 6010 api"},
		{name: "another service's container", from: "process 904 docker/" + two, to: "process 904 docker-" + one, err: "not meant to listen: tcp * 6010 cubeos-one"},
		{name: "a container that nobody knows", from: "container " + two, to: "container x" + two, err: "not meant to listen: tcp * 6010 container 2222"},
		{name: "partly in a container", from: "process 903 docker-" + one, to: "process 903", err: "not meant to listen: tcp 127.0.0.1 6005 cubeos-one+worker"},
		{name: "nothing", from: out, err: "does not listen: tcp 0.0.0.0 22 sshd"},
		{name: "no socket at all", from: "127.0.0.1:7946", to: "nothing", err: `ss shows "udp UNCONN`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			shown := out + tt.to
			if tt.from != "" {
				shown = strings.Replace(out, tt.from, tt.to, 1)
			}
			seen, err := judgeSockets(shown, want)
			if tt.err == "" && (err != nil || seen != "11 sockets, all meant") {
				t.Errorf("got %q, %v", seen, err)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

// TestTellSockets runs what would run in the guest on this machine, with a docker
// that knows no container.
func TestTellSockets(t *testing.T) {
	if _, err := exec.LookPath("ss"); err != nil {
		t.Skip("ss is missing: install the package iproute2")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	out, err := process.Output(t.Context(), "sh", "-c", tellSockets)
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := parseSockets(out)
	if err != nil {
		t.Fatal(err)
	}
	prefix := socket("tcp", "127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port), "")
	at := slices.IndexFunc(sockets, func(s string) bool { return strings.HasPrefix(s, prefix) })
	if at < 0 || sockets[at] == prefix+"-" || !strings.Contains(out, fmt.Sprintf("\nprocess %d ", os.Getpid())) {
		t.Errorf("the test's own socket is not seen with its process %d:\n%s", os.Getpid(), out)
	}
}

// TestGoldenSockets wants every line of the list to be read and to give a reason,
// and none that is a service's.
func TestGoldenSockets(t *testing.T) {
	taken := map[string]bool{}
	for _, s := range everyService(t) {
		for _, p := range s.Ports {
			taken[strconv.Itoa(p.Port)] = true
		}
	}
	for line := range strings.Lines(socketsGolden) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if f := strings.Fields(line); len(f) < 5 || taken[f[2]] {
			t.Errorf("%q is no socket with a reason, or a service's", line)
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
