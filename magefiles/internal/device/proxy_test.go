package device

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
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
	ports := make([]string, 3)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports[i] = fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
		l.Close()
	}
	npm := exec.Command(binary, "npm")
	npm.Env = []string{
		"STANDIN_NPM_ADMIN=" + ports[0], "STANDIN_NPM_HTTP=" + ports[1], "STANDIN_NPM_HTTPS=" + ports[2],
		"STANDIN_NPM_DATA=" + t.TempDir(), "INITIAL_ADMIN_EMAIL=admin@cubeos.cube", "INITIAL_ADMIN_PASSWORD=" + password,
	}
	npm.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := npm.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		npm.Process.Kill()
		npm.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+ports[0])
		if err == nil {
			c.Close()
			return "http://127.0.0.1:" + ports[0]
		}
		if time.Now().After(deadline) {
			t.Fatalf("the stand-in for Nginx Proxy Manager does not answer: %v", err)
		}
	}
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
