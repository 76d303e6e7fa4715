package scenario

import (
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

func TestJudges(t *testing.T) {
	const (
		loaded = "LoadState=loaded\nActiveState=active\nResult=success\nExecMainExitTimestampMonotonic=812\n"
		ready  = "mode=first\ncomplete=yes\n"
		grown  = "start=1064960\nsize=11517952\ndisk=12582912\nblocks=1439744\nblocksize=4096\n"
	)
	init := func(out string) (string, error) { return judgeInit(out, "first") }
	hal := func(out string) (string, error) { return judgeContainer(out, "hal") }
	root := func(out string) (string, error) { return judgeRoot(out, 6<<30) }
	for _, tt := range []struct {
		name  string
		judge func(string) (string, error)
		out   string
		seen  string
		err   string
		final bool
	}{
		{name: "init finished", judge: init, out: loaded + ready, seen: "first boot, result success"},
		{name: "init still runs", judge: init, out: "LoadState=loaded\nActiveState=activating\nResult=success\nExecMainExitTimestampMonotonic=0\nmode=first\n", err: "still activating"},
		{name: "init has not started", judge: init, out: "LoadState=loaded\nActiveState=inactive\nResult=success\nExecMainExitTimestampMonotonic=0\nmode=\n", err: "still inactive"},
		{name: "init failed", judge: init, out: "LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainExitTimestampMonotonic=3\n" + ready, err: "failed, result exit-code", final: true},
		{name: "init went the other way", judge: init, out: loaded + "mode=normal\ncomplete=yes\n", err: `says "normal"`, final: true},
		{name: "init without its marker", judge: init, out: loaded + "mode=first\n", err: "first-boot-complete", final: true},
		{name: "init not there", judge: init, out: "LoadState=not-found\nActiveState=inactive\n", err: "not-found", final: true},

		{name: "container runs", judge: hal, out: "cubeos-npm|npm|npm|running|Up 3 minutes\ncubeos-hal|hal|hal|running|Up 2 minutes (healthy)\n", seen: "cubeos-hal Up 2 minutes (healthy)"},
		{name: "container of another name", judge: hal, out: "cubeos-shall|shall|shall|running|Up\n", err: "no compose container"},
		{name: "container not of compose", judge: hal, out: "cubeos-hal|||running|Up\n", err: "no compose container"},
		{name: "container restarts", judge: hal, out: "cubeos-hal|hal|hal|restarting|Restarting (1) 2 seconds ago\n", err: "restarting"},
		{name: "container unhealthy", judge: hal, out: "cubeos-hal|hal|hal|running|Up 2 minutes (unhealthy)\n", err: "unhealthy"},
		{name: "container not known to be healthy", judge: hal, out: "cubeos-hal|hal|hal|running|Up 2 seconds (health: starting)\n", err: "starting"},

		{name: "stack complete", judge: judgeStack, out: "cubeos-api_api 1/1", seen: "cubeos-api_api 1/1"},
		{name: "stack not yet", judge: judgeStack, out: "cubeos-api_api 1/1\ncubeos-api_db 0/1", err: "cubeos-api_db 0/1"},
		{name: "stack scaled to nothing", judge: judgeStack, out: "cubeos-api_api 0/0", err: "0/0"},
		{name: "stack empty", judge: judgeStack, out: "", err: "no service"},

		{name: "access point", judge: judgeAccessPoint, out: "active=yes\nmac=02:00:00:0a:bc:0d\nssid=CubeOS-0ABC0D\ntype=AP\n", seen: "CubeOS-0ABC0D on wlan0 (02:00:00:0a:bc:0d)"},
		{name: "access point of another MAC", judge: judgeAccessPoint, out: "active=yes\nmac=02:00:00:0a:bc:0d\nssid=CubeOS-000000\ntype=AP\n", err: `expected AP with "CubeOS-0ABC0D"`},
		{name: "wlan0 is no access point", judge: judgeAccessPoint, out: "active=yes\nmac=02:00:00:0a:bc:0d\ntype=managed\n", err: `type "managed"`},
		{name: "hostapd is off", judge: judgeAccessPoint, out: "status hostapd.service - Access point\n", err: "not active"},
		{name: "no radio", judge: judgeAccessPoint, out: "active=yes\nmac=\n", err: `the address ""`},

		{name: "root grown", judge: root, out: grown, seen: "disk 6144 MiB, partition 5624 MiB, file system 5624 MiB"},
		{name: "partition not grown", judge: root, out: strings.Replace(grown, "size=11517952", "size=4194304", 1), err: "of the disk unused"},
		{name: "file system not grown", judge: root, out: strings.Replace(grown, "blocks=1439744", "blocks=524288", 1), err: "of its partition unused"},
		{name: "another disk", judge: root, out: strings.Replace(grown, "disk=12582912", "disk=12582000", 1), err: "expected a disk of", final: true},
		{name: "root without an answer", judge: root, out: "start=\n", err: "no start"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, err := tt.judge(tt.out)
			if tt.err == "" {
				if err != nil || seen != tt.seen {
					t.Errorf("got %q, %v, want %q", seen, err, tt.seen)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %q, %v, want an error with %q", seen, err, tt.err)
			}
			if got := boottest.IsFinal(err); got != tt.final {
				t.Errorf("%v: final is %t, want %t", err, got, tt.final)
			}
		})
	}
}

func TestJudgeListeners(t *testing.T) {
	const head = "LISTEN 0 4096 "
	for _, tt := range []struct {
		name, out, want string
	}{
		{"nothing listens", "", ""},
		{"every address", head + "0.0.0.0:6005 0.0.0.0:*", ""},
		{"every address, IPv6", head + "*:6005 *:*", ""},
		{"eth0's address", head + "10.0.2.15:6005 0.0.0.0:*", ""},
		{"loopback", head + "127.0.0.1:6005 0.0.0.0:*", "127.0.0.1"},
		{"loopback, IPv4 is preferred", head + "[::1]:6005 [::]:*\n" + head + "127.0.0.1:6005 0.0.0.0:*", "127.0.0.1"},
		{"an interface", head + "10.42.24.1%wlan0:53 0.0.0.0:*", "10.42.24.1"},
		{"loopback and every address", head + "127.0.0.1:6005 0.0.0.0:*\n" + head + "0.0.0.0:6005 0.0.0.0:*", ""},
	} {
		if got := judgeListeners(tt.out); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
