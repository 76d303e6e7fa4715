package scenarios

import (
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/emulator"
)

// Operational is what a freshly flashed device has to do. Others start from the
// device it has after its first boot.
func Operational() emulator.Scenario {
	return emulator.Scenario{
		Name: "operational", About: "first boot, reboot and power off of a freshly flashed card",
		Core: true,
		Phases: []emulator.Phase{
			{Name: "first boot", Keep: true, Checks: slices.Concat(
				[]emulator.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)},
				healthy(),
				[]emulator.Check{rootIdentity()},
			)},
			{Name: "reboot", Checks: slices.Concat(
				[]emulator.Check{reboots(), sshAnswers(), bootIDChanged(), initFinished("normal", bootBound)},
				healthy(),
				[]emulator.Check{noUnexplainedErrors()},
			)},
			{Name: "power off", Checks: []emulator.Check{powersOff(), rootIsClean()}},
		},
	}
}
