package standin

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

// asService makes this test's own program be the one it tests, so that nothing
// else has to be compiled and races in a service are found, too.
const asService = "STANDIN_TEST_AS_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := Command(ctx, os.Args); err != nil && !errors.Is(err, context.Canceled) {
			log.Fatal(err)
		}
		return
	}
	m.Run()
}

// program is a command of the program under test, with no other variables than
// these.
func program(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	cmd.Args[0] = "standin"
	// The race detector would wait a second at every exit.
	cmd.Env = append(slices.Clone(env), asService+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// run starts a service as a container runtime does and stops it with SIGTERM
// when the test ends.
func run(t *testing.T, service string, env ...string) {
	t.Helper()
	var log strings.Builder
	cmd := program(t, env, service)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s: %v", service, err)
		}
		hung := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		defer hung.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s did not end well on SIGTERM: %v\n%s", service, err, log.String())
		}
	})
	standintest.Eventually(t, service+" answers", func() error { return healthy(t, service, env) })
}

func healthy(t *testing.T, service string, env []string) error {
	t.Helper()
	if out, err := program(t, env, "-healthcheck", service).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func TestProgramIsAServiceAndAsksOne(t *testing.T) {
	addrs := standintest.Addrs(t, 2)
	run(t, "cubeos-hal", "HAL_HOST=127.0.0.1", "HAL_PORT="+standintest.Port(t, addrs[0]))
	for _, name := range []string{"wget", "curl"} {
		for path, good := range map[string]bool{"/health": true, "/no/such": false} {
			cmd := program(t, nil, "-q", "http://"+addrs[0]+path)
			cmd.Args[0] = "/usr/bin/" + name
			if out, err := cmd.CombinedOutput(); (err == nil) != good {
				t.Errorf("%s %s: %v\n%s", name, path, err, out)
			}
		}
	}
	if healthy(t, "cubeos-hal", []string{"HAL_HOST=127.0.0.1", "HAL_PORT=" + standintest.Port(t, addrs[1])}) == nil {
		t.Error("one that does not run is healthy")
	}
}

func TestSettingsThatAreWrongAreNamed(t *testing.T) {
	for _, tt := range []struct {
		service string
		env     service.Env
		want    []string
	}{
		{"nosuch", nil, []string{"unknown service", "cubeos-dashboard, cubeos-hal"}},
		{"cubeos-dashboard", service.Env{"API_URL": "api:6010"}, []string{"API_URL"}},
		{"registry", service.Env{"REGISTRY_HTTP_ADDR": "5000"}, []string{"REGISTRY_HTTP_ADDR", "HOST:PORT"}},
	} {
		_, err := New(tt.service, tt.env)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q in it", tt.service, err, want)
			}
		}
	}
}
