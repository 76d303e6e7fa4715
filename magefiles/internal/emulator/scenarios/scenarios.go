// Package scenarios says what has to be true of a device: every scenario is a row
// of data that a person can read and add to. A file holds the scenarios of one
// theme.
package scenarios

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/emulator"
)

// All returns every scenario.
func All() []emulator.Scenario {
	return slices.Concat(
		[]emulator.Scenario{Operational()},
		power(),
		card(),
		services(),
		network(),
		base(),
		access(),
		raspberryPi(),
	)
}

// Sets that can be asked for in place of names.
const (
	every = "all"
	core  = "core" // what CI runs on every change
)

// Named returns the scenarios that a list of names and sets, separated by commas,
// asks for, each once, in the order of All.
func Named(list string) ([]emulator.Scenario, error) {
	all := All()
	wanted := map[string]bool{}
	var problems []error
	for name := range strings.SplitSeq(list, ",") {
		known := false
		for _, sc := range all {
			if name == sc.Name || name == every || name == core && sc.Core {
				wanted[sc.Name], known = true, true
			}
		}
		if !known {
			problems = append(problems, fmt.Errorf("no scenario is called %q; there are all, core, %s", name, strings.Join(names(all), ", ")))
		}
	}
	return slices.DeleteFunc(all, func(sc emulator.Scenario) bool { return !wanted[sc.Name] }), errors.Join(problems...)
}

func names(all []emulator.Scenario) []string {
	var names []string
	for _, sc := range all {
		names = append(names, sc.Name)
	}
	return names
}
