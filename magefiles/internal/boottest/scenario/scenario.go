// Package scenario says what has to be true of a device: every scenario is a row
// of data that a person can read and add to. A file holds the scenarios of one
// theme.
package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

// All returns every scenario.
func All() []boottest.Scenario {
	return slices.Concat(
		[]boottest.Scenario{Operational()},
		power(),
		cards(),
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
func Named(list string) ([]boottest.Scenario, error) {
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
	return slices.DeleteFunc(all, func(sc boottest.Scenario) bool { return !wanted[sc.Name] }), errors.Join(problems...)
}

func names(all []boottest.Scenario) []string {
	var names []string
	for _, sc := range all {
		names = append(names, sc.Name)
	}
	return names
}
