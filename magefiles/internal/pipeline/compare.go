package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/chroot"
)

// listed is how many differences an error lists: the first say most.
const listed = 40

// allowed are the files whose contents may differ between a native and an
// emulated provisioning, each with the reason. There was a cache of ldconfig that
// holds inode numbers; the device does not need it, and it is not shipped.
func allowed() map[string]string {
	return map[string]string{}
}

// judge returns an error that lists what differs and must not.
func judge(report func(string, ...any), differences []chroot.Difference, allowed map[string]string) error {
	var bad []string
	for _, d := range differences {
		if why, ok := allowed[d.Path]; ok && d.What == "contents" {
			report("allowed: %s, %s", d.Path, why)
			continue
		}
		bad = append(bad, d.Path+": "+d.What)
	}
	if len(bad) == 0 {
		return nil
	}
	problem := fmt.Sprintf("files that differ (%d):\n%s", len(bad), strings.Join(bad[:min(len(bad), listed)], "\n"))
	if n := len(bad) - listed; n > 0 {
		problem += fmt.Sprintf("\nand %d more", n)
	}
	return errors.New(problem)
}
