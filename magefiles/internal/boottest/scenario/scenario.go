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
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// All returns every scenario for a device with the services of a list.
func All(l services.List) ([]boottest.Scenario, error) {
	var problems []error
	for _, name := range []string{pihole, proxy, hal, dashboard} {
		if _, ok := l.Named(name); !ok {
			problems = append(problems, fmt.Errorf("scenarios are about the service %s, which %s does not list", name, services.File))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	all := slices.Concat(
		[]boottest.Scenario{Operational(l)},
		power(l),
		cards(l),
		inDocker(l),
		network(l),
		wizard(),
		setup(l),
		credentials(l),
		nameService(l),
		recovery(),
		watchdogAndReset(l),
		base(l),
		access(),
		raspberryPi(),
	)
	harmless := slices.DeleteFunc(slices.Clone(all), func(sc boottest.Scenario) bool { return !sc.Harmless })
	return append(all, asHardware(l, harmless)), nil
}

// The services that scenarios are about, or need for what they do, by name.
const (
	pihole    = "pihole"
	proxy     = "npm"
	hal       = "cubeos-hal"
	dashboard = "cubeos-dashboard"
)

// service returns one of those, which All has looked for.
func service(l services.List, name string) services.Service {
	s, _ := l.Named(name)
	return s
}

// Default is the scenario that the boot proof is without a choice.
const Default = "operational"

// Sets that can be asked for in place of names.
const (
	Every = "all"
	core  = "core" // what CI runs on every change
)

// Named returns the scenarios that names and sets, separated by commas, ask for,
// each once, in the order of All.
func Named(asked string, l services.List) ([]boottest.Scenario, error) {
	all, err := All(l)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	var problems []error
	for name := range strings.SplitSeq(asked, ",") {
		known := false
		for _, sc := range all {
			if name == sc.Name || name == Every || name == core && sc.Core {
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
