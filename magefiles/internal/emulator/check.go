package emulator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/emulator/machine"
	"github.com/cubeos-app/releases/magefiles/internal/emulator/media"
)

const (
	pollEvery = 2 * time.Second
	// afterFailure bounds every check that comes after a failed one: the machine
	// has had its time, and what it is like now still belongs in the table.
	afterFailure = 30 * time.Second
)

// Check is one thing that must be true of the device.
type Check struct {
	Name    string
	Asserts string
	Bound   time.Duration
	Once    bool // Ask does something: it is not to be repeated until it succeeds
	Off     bool // the machine goes off, or is off, while it is asked
	Vital   bool // when it fails, nothing after it can be asked
	// Ask returns what was seen. While it returns an error that is not final, it
	// is called again.
	Ask func(ctx context.Context, s *Subject) (seen string, err error)
}

// Subject is what checks ask.
type Subject struct {
	*machine.Machine
	Alive    context.Context // ends when nothing more can be asked
	Image    *media.Image    // the artifact, unpacked
	Disk     string          // the device's file in Spec.Dir
	DiskSize int64
	BootID   string // of the boot that was looked at last
}

// Phase is a stretch of a device's life and what must be true in it.
type Phase struct {
	Name   string
	Checks []Check
}

// finalError is an answer that waiting cannot change.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func final(format string, args ...any) error { return finalError{fmt.Errorf(format, args...)} }

// ask waits for a check to come true within its bound.
func ask(ctx context.Context, c Check, s *Subject, bound time.Duration) (string, error) {
	alive := s.Alive
	if c.Off {
		alive = context.Background()
	}
	ctx, cancel := machine.Within(ctx, alive, bound)
	defer cancel()
	var last error
	for {
		seen, err := c.Ask(ctx, s)
		if err == nil {
			return seen, nil
		}
		if cause := context.Cause(ctx); cause != nil {
			// What was wrong before time ran out tells more than that it ran out.
			if last == nil {
				return "", err
			}
			return "", fmt.Errorf("%w; %w", cause, last)
		}
		if c.Once || errors.As(err, new(finalError)) {
			return "", err
		}
		last = err
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w; %w", context.Cause(ctx), last)
		case <-time.After(pollEvery):
		}
	}
}
