// Command standin stands in for one of the services of a CubeOS device where
// their real images can not be had: `standin pihole`. It listens where the
// real one does, takes its settings from the same variables and is healthy
// only if what the real one needs is there.
//
// `standin -healthcheck pihole` asks a running one; the images hold no curl.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

// service is one stand-in.
type service interface {
	// run serves until ctx ends. It returns an error where the real service
	// would not start.
	run(ctx context.Context) error
	// check returns an error if the running service is not healthy.
	check(ctx context.Context) error
}

func newService(name string, env func(string) string) (service, error) {
	switch name {
	case "pihole":
		return newPihole(env)
	case "npm":
		return newNPM(env), nil
	case "hal":
		return newHAL(env), nil
	case "api":
		return newAPI(env)
	case "dashboard":
		return newDashboard(env)
	}
	return nil, fmt.Errorf("unknown service %q: want pihole, npm, hal, api or dashboard", name)
}

func main() {
	log.SetFlags(0) // the container's log has times
	healthcheck := flag.Bool("healthcheck", false, "ask the running service whether it is healthy")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, flag.Arg(0), *healthcheck); err != nil && !errors.Is(err, context.Canceled) {
		stop()
		log.Fatal(err)
	}
}

func start(ctx context.Context, name string, healthcheck bool) error {
	s, err := newService(name, os.Getenv)
	if err != nil {
		return err
	}
	if healthcheck {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		return s.check(ctx)
	}
	return s.run(ctx)
}
