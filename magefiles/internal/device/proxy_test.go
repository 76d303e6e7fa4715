package device

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// proxyManager runs the lab's stand-in for Nginx Proxy Manager and returns the
// address of its administration.
func proxyManager(t *testing.T, password string) (url string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "standin")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../lab/standin/cmd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	npm := exec.Command(binary, "npm")
	npm.Env = []string{ // 0 is any free port; it says which
		"STANDIN_NPM_ADMIN=0", "STANDIN_NPM_HTTP=0", "STANDIN_NPM_HTTPS=0",
		"STANDIN_NPM_DATA=" + t.TempDir(), "INITIAL_ADMIN_EMAIL=admin@cubeos.cube", "INITIAL_ADMIN_PASSWORD=" + password,
	}
	npm.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := npm.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := npm.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		npm.Process.Kill()
		npm.Wait()
	})
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			return "http://127.0.0.1" + address[strings.LastIndex(address, ":"):]
		}
	}
	t.Fatal("the stand-in for Nginx Proxy Manager does not listen")
	return ""
}

func TestProxyHosts(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	if err := os.Remove(filepath.Join(d.bin, "curl")); err != nil { // the real one
		t.Fatal(err)
	}
	const secret = "0123456789abcdef"
	d.write("cubeos/config/secrets.env", "CUBEOS_NPM_EMAIL=admin@cubeos.cube\nCUBEOS_NPM_PASSWORD="+secret+"\n")
	url := proxyManager(t, secret)
	run := func() (string, error) {
		return d.script("cubeos-proxy-hosts.sh", nil, "CUBEOS_NPM_URL="+url)
	}

	out, err := run()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, s := range list() {
		for _, name := range s.HTTP.Names {
			name = strings.NewReplacer("{domain}", "cubeos.cube", "{address}", "10.42.24.1").Replace(name)
			if want := fmt.Sprintf("http://%s leads to port %d\n", name, s.HTTP.Port); !strings.Contains(out, want) {
				t.Errorf("it does not say %q:\n%s", want, out)
			}
		}
	}
	if out, err := run(); err != nil || out != "" {
		t.Errorf("the second time: %v\n%s", err, out)
	}

	d.write("cubeos/config/secrets.env", "CUBEOS_NPM_EMAIL=admin@cubeos.cube\nCUBEOS_NPM_PASSWORD=other\n")
	if out, err := run(); err == nil || !strings.Contains(out, "does not let us in (Invalid email or password)") {
		t.Errorf("with another password: %v\n%s", err, out)
	}
	url = "http://127.0.0.1:1"
	if out, err := run(); err == nil || !strings.Contains(out, "does not let us in (") {
		t.Errorf("with nobody there: %v\n%s", err, out)
	}
}
