// Package standin holds a stand-in for each service of a CubeOS device, for
// where the real images can not be had: a file a service, each under the
// service's one name.
package standin

import (
	"context"
	"fmt"
	"maps"
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

// Check returns an error if the running service is not healthy, or does not say
// so in time.
func Check(ctx context.Context, s Service) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return s.Healthy(ctx)
}
