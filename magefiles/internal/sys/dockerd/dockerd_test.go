package dockerd

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// fakeDaemon answers pings as one that speaks a version of the API.
func fakeDaemon(t *testing.T, l net.Listener, version string) {
	t.Helper()
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("API-Version", version)
		w.Header().Set("OSType", "linux")
	})}}
	server.Start()
	t.Cleanup(server.Close)
}

// noDaemon makes the test's configuration one without contexts.
func noDaemon(t *testing.T) (configDir string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_API_VERSION"} {
		t.Setenv(name, "")
	}
	return dir
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// addContext does what `docker context create` does.
func addContext(t *testing.T, configDir, name, host string) {
	t.Helper()
	dir := filepath.Join(configDir, "contexts", "meta", fmt.Sprintf("%x", sha256.Sum256([]byte(name))))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	meta := fmt.Sprintf(`{"Name":%q,"Metadata":{},"Endpoints":{"docker":{"Host":%q,"SkipTLSVerify":false}}}`, name, host)
	if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte(meta), 0o644); err != nil {
		t.Fatal(err)
	}
}

func useContext(t *testing.T, configDir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(configDir, "config.json"), fmt.Appendf(nil, `{"currentContext":%q}`, name), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheDaemonIsFoundAsDockerFindsIt(t *testing.T) {
	dir := noDaemon(t)
	hosts := map[string]string{}
	for _, name := range []string{"one", "two", "three"} {
		l := listen(t, "tcp", "127.0.0.1:0")
		fakeDaemon(t, l, "1.51")
		hosts[name] = "tcp://" + l.Addr().String()
		addContext(t, dir, name, hosts[name])
	}
	for _, step := range []struct {
		set  func()
		want string
	}{
		{func() { useContext(t, dir, "one") }, "one"},
		{func() { t.Setenv("DOCKER_CONTEXT", "two") }, "two"},
		{func() { t.Setenv("DOCKER_HOST", hosts["three"]) }, "three"},
	} {
		step.set()
		docker, err := Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := docker.DaemonHost(); got != hosts[step.want] {
			t.Errorf("%s, want context %s at %s", got, step.want, hosts[step.want])
		}
		docker.Close()
	}
}

func TestContextOverSSHIsUnderstood(t *testing.T) {
	dir := noDaemon(t)
	bin := t.TempDir()
	seen := filepath.Join(bin, "seen")
	script := fmt.Sprintf("#!/bin/sh\necho \"$*\" >%s\nexit 255\n", seen)
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	addContext(t, dir, "far", "ssh://user@far.example")
	useContext(t, dir, "far")
	if _, err := Connect(t.Context()); err == nil {
		t.Error("an ssh that fails was taken for a daemon")
	}
	if got, err := os.ReadFile(seen); err != nil || !regexp.MustCompile(`user.* far\.example .*system dial-stdio`).Match(got) {
		t.Errorf("ssh was run as %q, %v", got, err)
	}
}

func TestErrorsOfConnectingSayWhatToDo(t *testing.T) {
	dir := noDaemon(t)
	sockets := t.TempDir()
	old := listen(t, "tcp", "127.0.0.1:0")
	fakeDaemon(t, old, "1.38")
	for name, test := range map[string]struct {
		set   func()
		wants []string
	}{
		"no socket":       {func() { t.Setenv("DOCKER_HOST", "unix://"+sockets+"/none") }, []string{"no Docker daemon answers at unix://", "systemctl start docker", "docker context use"}},
		"nobody listens":  {func() { t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1") }, []string{"no Docker daemon answers at tcp://127.0.0.1:1"}},
		"too old":         {func() { t.Setenv("DOCKER_HOST", "tcp://"+old.Addr().String()) }, []string{"too old", "1.38", "1.41", "upgrade Docker"}},
		"unknown context": {func() { t.Setenv("DOCKER_HOST", ""); useContext(t, dir, "gone") }, []string{`context "gone"`, "docker context ls"}},
	} {
		t.Run(name, func(t *testing.T) {
			test.set()
			_, err := Connect(t.Context())
			for _, want := range test.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestASocketOfOthersIsNoMissingDaemon(t *testing.T) {
	if os.Getenv("CUBEOS_TEST_SOCKET") != "" {
		t.Setenv("DOCKER_HOST", os.Getenv("CUBEOS_TEST_SOCKET"))
		_, err := Connect(t.Context())
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "socket-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "docker.sock")
	fakeDaemon(t, listen(t, "unix", path), "1.51")
	program := filepath.Join(dir, "test")
	if err := os.Link(os.Args[0], program); err != nil {
		raw, readErr := os.ReadFile(os.Args[0])
		if readErr != nil || os.WriteFile(program, raw, 0o755) != nil {
			t.Fatal(err, readErr)
		}
	}
	for path, mode := range map[string]os.FileMode{dir: 0o755, path: 0o600, program: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-test.run", "TestASocketOfOthersIsNoMissingDaemon")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CUBEOS_TEST_SOCKET=unix://"+path, "HOME="+dir, "DOCKER_CONFIG="+dir)
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "may not use the Docker daemon") || !strings.Contains(string(out), "group docker") {
		t.Errorf("%v: %s", err, out)
	}
}
