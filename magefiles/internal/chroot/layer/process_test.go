package layer

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// role tells a process that a test started what it is to do; its directory is
// in roleDir.
const (
	role    = "LAYER_TEST_ROLE"
	roleDir = "LAYER_TEST_DIR"
)

// again returns the command that runs the same test in another process.
func again(t *testing.T, as, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	// What it would remove at its end is removed for it: it may be killed.
	cmd.Env = append(os.Environ(), role+"="+as, roleDir+"="+dir, "TMPDIR="+t.TempDir())
	return cmd
}

func TestManyProcesses(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv(role)); err == nil {
		var made atomic.Int32
		for round := range 15 {
			if err := work(t.Context(), os.Getenv(roleDir), n, round, &made); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	dir := t.TempDir()
	var builds sync.WaitGroup
	for n := range 3 {
		cmd := again(t, strconv.Itoa(n), dir)
		builds.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("build %d: %v\n%s", n, err, out)
			}
		})
	}
	builds.Wait()
}

func TestAKilledBuildLeavesNothingThatLooksFinished(t *testing.T) {
	c := newCache(t)
	if os.Getenv(role) != "" {
		c.dir = os.Getenv(roleDir)
		s := c.open()
		c.layer(s, "held")
		_, err := s.Layer(t.Context(), "key", func(_ context.Context, d Draft) error {
			err := populate(d.Tree)
			os.Stdout.WriteString("\nready\n")
			time.Sleep(time.Minute) // it is killed before
			return err
		})
		t.Fatal(err)
	}
	cmd := again(t, "victim", c.dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
	}
	s := c.open()
	if err := s.Prune(0); err != nil {
		t.Fatal(err)
	}
	if keys, layers := c.names(); strings.Join(keys, " ") != "held key.lock" || len(layers) != 2 {
		t.Errorf("while it runs: %v, %v, want what it holds and what it makes", keys, layers)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if keys, layers := c.names(); strings.Join(keys, " ") != "held" || len(layers) != 1 {
		t.Errorf("a killed build left %v, %v, want only the finished layer", keys, layers)
	}
	if _, made := c.layer(s, "key"); !made {
		t.Error("its unfinished layer was used")
	}
}
