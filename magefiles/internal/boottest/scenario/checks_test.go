package scenario

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

func TestJudges(t *testing.T) {
	const (
		loaded = "LoadState=loaded\nActiveState=active\nResult=success\nExecMainExitTimestampMonotonic=812\n"
		ready  = "mode=first\ncomplete=yes\n"
		grown  = "start=1064960\nsize=11517952\ndisk=12582912\nblocks=1439744\nblocksize=4096\n"
	)
	init := func(out string) (string, error) { return judgeInit(out, "first") }
	halRuns := func(out string) (string, error) {
		return judgeContainer(out, services.Service{Name: "cubeos-hal", Kind: services.Compose})
	}
	apiRuns := func(out string) (string, error) {
		return judgeStack(out, services.Service{Name: "cubeos-api", Kind: services.Stack})
	}
	twoLines := func(out string) (string, error) {
		return judgeLines(out, withoutTask, []string{"a_a running", "b running"})
	}
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

		{name: "container runs", judge: halRuns, out: "cubeos-npm|npm|npm|running|Up 3 minutes\ncubeos-hal|cubeos-hal|cubeos-hal|running|Up 2 minutes (healthy)\n", seen: "cubeos-hal Up 2 minutes (healthy)"},
		{name: "container of another name", judge: halRuns, out: "cubeos-shall|cubeos-hal|cubeos-hal|running|Up\n", err: "there is no container cubeos-hal"},
		{name: "container of another project", judge: halRuns, out: "cubeos-hal|hal|cubeos-hal|running|Up\n", err: `of the project "hal"`},
		{name: "container not of compose", judge: halRuns, out: "cubeos-hal|||running|Up\n", err: `of the project ""`},
		{name: "container restarts", judge: halRuns, out: "cubeos-hal|cubeos-hal|cubeos-hal|restarting|Restarting (1) 2 seconds ago\n", err: "restarting"},
		{name: "container unhealthy", judge: halRuns, out: "cubeos-hal|cubeos-hal|cubeos-hal|running|Up 2 minutes (unhealthy)\n", err: "unhealthy"},
		{name: "container not known to be healthy", judge: halRuns, out: "cubeos-hal|cubeos-hal|cubeos-hal|running|Up 2 seconds (health: starting)\n", err: "starting"},

		{name: "stack complete", judge: apiRuns, out: "cubeos-api_cubeos-api 1/1", seen: "cubeos-api_cubeos-api 1/1"},
		{name: "stack not yet", judge: apiRuns, out: "cubeos-api_cubeos-api 0/1", err: "0/1"},
		{name: "stack of another service, too", judge: apiRuns, out: "cubeos-api_cubeos-api 1/1\ncubeos-api_db 1/1", err: "cubeos-api_db"},
		{name: "stack of another service", judge: apiRuns, out: "cubeos-api_api 1/1", err: "expected cubeos-api_cubeos-api 1/1"},
		{name: "stack scaled to nothing", judge: apiRuns, out: "cubeos-api_cubeos-api 0/0", err: "0/0"},
		{name: "stack empty", judge: apiRuns, out: "", err: "no service"},

		{name: "lines in another order", judge: twoLines, out: "b running\na_a.1.lhqnl2cvp8bmqfzbj6ms19g3v running\n", seen: "a_a running, b running"},
		{name: "a line too many", judge: twoLines, out: "b running\na_a.1.lhqnl2cvp8bmqfzbj6ms19g3v running\na_a.1.zzznl2cvp8bmqfzbj6ms19g3v running\n", err: `"a_a running" "a_a running" "b running"`},
		{name: "a line too few", judge: twoLines, out: "b running\n", err: `expected ["a_a running" "b running"]`},
		{name: "another line", judge: twoLines, out: "b exited\na_a running\n", err: "b exited"},

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

func TestJudgeSame(t *testing.T) {
	const other = "\n" + otherAnswer + "\n"
	for _, tt := range []struct{ name, out, seen, err string }{
		{"the same", "<p>\nhello</p>\n200" + other + "<p>\nhello</p>\n200", "200, 13 bytes, by both ways", ""},
		{"but for the time", `{"up":"12 s"}` + "\n200" + other + `{"up":"3 s"}` + "\n200", "200, 13 bytes, by both ways", ""},
		{"redirects", "\n302" + other + "\n302", "302, 0 bytes, by both ways", ""},
		{"another page", "Congratulations\n200" + other + "Dashboard\n200", "", `the name is answered with "Congratulations", the port with "Dashboard"`},
		{"another status", "hello\n502" + other + "hello\n200", "", "the name is answered with 502, the port with 200"},
		{"an error by both ways", "not here\n404" + other + "not here\n404", "", "both are answered with 404"},
		{"one answer", "hello\n200", "", "no two answers"},
		{"no answer", "", "", "no two answers"},
	} {
		seen, err := judgeSame(tt.out)
		if tt.err == "" && (err != nil || seen != tt.seen) {
			t.Errorf("%s: got %q, %v, want %q", tt.name, seen, err, tt.seen)
		}
		if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.err)
		}
	}
}

// TestAskTwice runs what would run in the guest against two servers of this host.
func TestAskTwice(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is missing: install the package curl")
	}
	hosts := make(chan string, 2)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts <- r.Host + r.URL.Path
		io.WriteString(w, "<p>hello</p>\n")
	})
	byName, itself := httptest.NewServer(handler), httptest.NewServer(handler)
	defer byName.Close()
	defer itself.Close()
	_, port, err := net.SplitHostPort(itself.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	command := askTwice("name."+cubeDomain, services.Service{HTTP: services.HTTP{Port: n, Health: "/health"}})
	out, err := process.Output(t.Context(), "sh", "-c", strings.Replace(command, "http://"+cubeAddress, byName.URL, 1))
	if err != nil {
		t.Fatal(err)
	}
	if seen, err := judgeSame(out); err != nil || seen != "200, 12 bytes, by both ways" {
		t.Errorf("got %q, %v", seen, err)
	}
	for range 2 {
		if got := <-hosts; got != "name."+cubeDomain+"/health" {
			t.Errorf("asked for %s", got)
		}
	}
}

func TestJudgeStatus(t *testing.T) {
	for status, ok := range map[int]bool{200: true, 302: true, 399: true, 400: false, 503: false, 0: false} {
		if _, err := judgeStatus("GET /", status, 400); (err == nil) != ok {
			t.Errorf("%d: got %v, want it taken: %t", status, err, ok)
		}
	}
}
