// Package standin holds a stand-in for each service of a CubeOS device, for
// where the real images can not be had: a package a service. Each imitates as
// much of the real one as the device and its users have to do with, and fails
// where the real one would; its package says what that is and where it was seen.
// Package contract compares the two.
package standin

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/api"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/dashboard"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/hal"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/npm"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/pihole"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// Service is one stand-in.
type Service interface {
	// Run serves until ctx ends. It returns an error where the real service
	// would not start.
	Run(ctx context.Context) error
	// Healthy returns an error if the running service is not.
	Healthy(ctx context.Context) error
}

// Health is how Docker asks a container of an image for its health.
type Health struct {
	Interval, Timeout, StartPeriod time.Duration
	Retries                        int
}

// Image is what the real image has that the device can make use of.
type Image struct {
	Health   *Health           // nil where the real image has none: Docker then knows of no health
	Programs []string          // paths; they are this program by another name
	Files    map[string]string // their content, by their path
}

// standin is one of the table.
type standin struct {
	construct func(service.Env) (Service, error)
	image     Image
}

const (
	curl        = "/usr/bin/curl"
	wget        = "/usr/bin/wget"
	checkHealth = "/usr/bin/check-health"
)

// standins are all there are, by the names of services.json. Each takes its
// settings from the variables of the real one.
func standins() map[string]standin {
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	return map[string]standin{
		"pihole": {
			construct: func(env service.Env) (Service, error) { return pihole.New(env, pihole.Options{}), nil },
			image: Image{
				Health:   &Health{Interval: seconds(30), Timeout: seconds(30), Retries: 3},
				Programs: []string{curl},
				Files:    map[string]string{pihole.GravityTemplate: pihole.GravitySchema},
			},
		},
		"npm": {
			construct: func(env service.Env) (Service, error) { return npm.New(env, npm.Options{}), nil },
			image:     Image{Programs: []string{curl, checkHealth}},
		},
		"cubeos-hal": {
			construct: func(env service.Env) (Service, error) { return hal.New(env, hal.Options{}), nil },
			image:     Image{Health: &Health{Interval: seconds(30), Timeout: seconds(5), Retries: 3}, Programs: []string{wget}},
		},
		"cubeos-api": {
			construct: func(env service.Env) (Service, error) { return api.New(env, api.Options{}) },
			image:     Image{Health: &Health{Interval: seconds(30), Timeout: seconds(3), StartPeriod: seconds(5), Retries: 3}, Programs: []string{wget}},
		},
		"cubeos-dashboard": {
			construct: func(env service.Env) (Service, error) { return dashboard.New(env, dashboard.Options{}) },
			image:     Image{Programs: []string{curl, wget}},
		},
		"registry": {construct: newRegistry, image: Image{Programs: []string{wget}}},
	}
}

// Names lists the services that have a stand-in.
func Names() []string { return slices.Sorted(maps.Keys(standins())) }

// ImageOf returns what the image of a service has, besides the program.
func ImageOf(name string) Image { return standins()[name].image }

// New returns the stand-in for the service of a name. The error reports every
// setting that is wrong.
func New(name string, env service.Env) (Service, error) {
	s, ok := standins()[name]
	if !ok {
		return nil, fmt.Errorf("unknown service %q: there are stand-ins for %s", name, strings.Join(Names(), ", "))
	}
	return s.construct(env)
}

// Command does what the program's arguments say: it runs the service of a name,
// or, after -healthcheck, asks the running one. By the name of curl, wget or
// check-health it asks as far as those do in a health check.
func Command(ctx context.Context, argv []string) error {
	name, args := filepath.Base(argv[0]), argv[1:]
	switch name {
	case filepath.Base(curl), filepath.Base(wget):
		if len(args) == 0 {
			return fmt.Errorf("%s: no URL", name)
		}
		return service.Probe(ctx, http.DefaultClient, args[len(args)-1])
	case filepath.Base(checkHealth):
		args = []string{"-healthcheck", "npm"}
	}
	flags := flag.NewFlagSet("standin", flag.ContinueOnError)
	healthcheck := flags.Bool("healthcheck", false, "ask the running service whether it is healthy")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := New(flags.Arg(0), service.Environ(os.Environ()))
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
	ctx, cancel := context.WithTimeout(ctx, service.ProbeTimeout)
	defer cancel()
	return s.Healthy(ctx)
}
