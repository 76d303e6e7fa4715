package scenario

import (
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// Operational is what a freshly flashed device has to do. Others start from the
// device it has after its first boot.
func Operational(l services.List) boottest.Scenario {
	return boottest.Scenario{
		Name: Default, About: "first boot, reboot and power off of a freshly flashed card",
		Core: true, Harmless: true,
		Phases: []boottest.Phase{
			{Name: "first boot", Keep: true, Checks: slices.Concat(
				[]boottest.Check{kernelStarts(), sshAnswers(), initFinished("first", firstBound)},
				healthy(l),
				[]boottest.Check{rootIdentity()},
			)},
			{Name: "reboot", Checks: slices.Concat(
				[]boottest.Check{reboots(), sshAnswers(), bootIDChanged(), initFinished("normal", bootBound)},
				healthy(l),
				[]boottest.Check{noUnexplainedErrors()},
			)},
			{Name: "power off", Checks: []boottest.Check{powersOff(), rootIsClean()}},
		},
	}
}
