package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Each probe does in a private mount namespace what a build will do there:
// asking the kernel for a list of its features says nothing about a container
// that may not use them, or about modules that load when they are wanted.
const (
	overlayProbe = `mount -t tmpfs tmpfs "$0"; cd "$0"; mkdir l u w m; mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m; : >m/x; test -e u/x`
	loopProbe    = `mount -t tmpfs tmpfs "$0"; cd "$0"; mkdir m; truncate -s 8M i; mke2fs -q -t ext4 -E offset=1048576 i 4096k; mount -t ext4 -o loop,offset=1048576 i m; : >m/x`
)

// probeArgv runs script in mount and PID namespaces of its own, dir being $0.
func probeArgv(script, dir string) []string {
	return []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private", "sh", "-euc", script, dir}
}

func probeKernel(ctx context.Context) []Problem {
	dir, err := os.MkdirTemp("", "cubeos-probe-")
	if err != nil {
		return []Problem{{What: fmt.Sprintf("no temporary directory: %v", err)}}
	}
	defer func() { _ = os.Remove(dir) }() // it is empty
	if err := process.Run(ctx, probeArgv("true", dir)...); err != nil {
		return []Problem{{What: "no private mount and PID namespaces (" + reason(err) + ")", Hint: containerHint}}
	}
	var problems []Problem
	for _, p := range []struct{ what, script string }{
		{"overlayfs does not work", overlayProbe},
		{"an ext4 file system inside a file can not be mounted (loop device, ext4)", loopProbe},
	} {
		if err := process.Run(ctx, probeArgv(p.script, dir)...); err != nil {
			problems = append(problems, Problem{What: fmt.Sprintf("%s (%s)", p.what, reason(err)), Hint: containerHint})
		}
	}
	return problems
}

const containerHint = "in a container, run it privileged with /dev of the host (docker run --privileged); otherwise use a kernel that has it"

// reason is the last line of what a failed command printed.
func reason(err error) string {
	var e *process.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	if exit := new(exec.ExitError); errors.As(e.Err, &exit) && e.Output != "" {
		return e.Output[strings.LastIndexByte(e.Output, '\n')+1:]
	}
	return e.Err.Error()
}
