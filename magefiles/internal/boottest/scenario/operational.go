package scenario

import (
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// Operational is what a freshly flashed device has to do. Others start from the
// device it has after its first boot.
func Operational() boottest.Scenario {
	return boottest.Scenario{
		Name: "operational", About: "first boot, reboot and power off of a freshly flashed card",
		Core: true,
		Phases: []boottest.Phase{
			{Name: "first boot", Keep: true, Checks: slices.Concat(
				[]boottest.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)},
				healthy(),
				[]boottest.Check{rootIdentity()},
			)},
			{Name: "reboot", Checks: slices.Concat(
				[]boottest.Check{reboots(), sshAnswers(), bootIDChanged(), initFinished("normal", bootBound)},
				healthy(),
				[]boottest.Check{noUnexplainedErrors()},
			)},
			{Name: "power off", Checks: []boottest.Check{powersOff(), rootIsClean()}},
		},
	}
}
