// Command standin stands in for one of the services of a CubeOS device where
// their real images can not be had: `standin pihole`. It listens where the
// real one does and takes its settings from the same variables and files.
//
// `standin -healthcheck pihole` asks a running one; the images hold no curl, but
// this program by that name.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin"
)

func main() {
	log.SetFlags(0) // the container's log has times
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := standin.Command(ctx, os.Args); err != nil && !errors.Is(err, context.Canceled) {
		stop()
		log.Fatal(err)
	}
}
