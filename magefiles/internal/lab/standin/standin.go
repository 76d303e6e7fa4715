// Package standin holds a stand-in for each service of a CubeOS device, for
// where the real images can not be had: a file a service, each under the
// service's one name.
package standin

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Service is one stand-in.
type Service interface {
	// Run serves until ctx ends. It returns an error where the real service
	// would not start.
	Run(ctx context.Context) error
	// Healthy returns an error if the running service is not.
	Healthy(ctx context.Context) error
}

// constructors are all there are, by the names of services.json. Each takes its
// settings from the variables of the real one.
func constructors() map[string]func(env func(string) string) (Service, error) {
	return map[string]func(func(string) string) (Service, error){
		"pihole":           newPihole,
		"npm":              newNPM,
		"cubeos-hal":       newHAL,
		"cubeos-api":       newAPI,
		"cubeos-dashboard": newDashboard,
		"registry":         newRegistry,
	}
}

// Names lists the services that have a stand-in.
func Names() []string { return slices.Sorted(maps.Keys(constructors())) }

// New returns the stand-in for the service of a name. The error reports every
// setting that is wrong.
func New(name string, env func(string) string) (Service, error) {
	construct, ok := constructors()[name]
	if !ok {
		return nil, fmt.Errorf("unknown service %q: there are stand-ins for %s", name, strings.Join(Names(), ", "))
	}
	return construct(env)
}

// Command does what the program's arguments say: it runs the service of a name,
// or, after -healthcheck, asks the running one.
func Command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("standin", flag.ContinueOnError)
	healthcheck := flags.Bool("healthcheck", false, "ask the running service whether it is healthy")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := New(flags.Arg(0), os.Getenv)
	if err != nil {
		return err
	}
	if *healthcheck {
		return Check(ctx, s)
	}
	return s.Run(ctx)
}

// Check returns an error if the running service is not healthy, or does not say
// so in time.
func Check(ctx context.Context, s Service) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return s.Healthy(ctx)
}
