package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/docker/go-units"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/git"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Machine is where a report was made.
type Machine struct {
	CPU        string `json:"cpu"`
	Processors int    `json:"processors"`
	Memory     int64  `json:"memory"` // bytes
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"` // of the scratch directory
}

func (m Machine) String() string {
	return fmt.Sprintf("%d processors (%s), %s of memory, Linux %s, %s",
		m.Processors, m.CPU, units.BytesSize(float64(m.Memory)), m.Kernel, m.FileSystem)
}

func newReport(ctx context.Context, o Options) (Report, error) {
	r := Report{Profile: o.Profile, Started: time.Now().UTC().Truncate(time.Second)}
	var err error
	if r.Commit, err = git.Output(ctx, o.Root, "describe", "--always", "--dirty", "--abbrev=12"); err != nil {
		return r, err
	}
	r.Machine, err = thisMachine(ctx, string(o.Cache))
	return r, err
}

func thisMachine(ctx context.Context, dir string) (Machine, error) {
	m := Machine{Processors: runtime.NumCPU(), CPU: runtime.GOARCH}
	var uname unix.Utsname
	var memory unix.Sysinfo_t
	if err := unix.Uname(&uname); err != nil {
		return m, err
	}
	if err := unix.Sysinfo(&memory); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(uname.Release[:])
	m.Memory = int64(memory.Totalram) * int64(memory.Unit)
	info, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	defer info.Close()
	if name := modelName(bufio.NewScanner(info)); name != "" {
		m.CPU = name
	}
	m.FileSystem, err = process.Output(ctx, "findmnt", "--noheadings", "--output=FSTYPE", "--target="+dir)
	return m, err
}

// modelName is the first processor's; arm64's kernel does not tell it.
func modelName(cpuinfo *bufio.Scanner) string {
	for cpuinfo.Scan() {
		if key, value, ok := strings.Cut(cpuinfo.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
