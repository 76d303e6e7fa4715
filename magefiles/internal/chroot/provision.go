package chroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cubeos-app/releases/magefiles/internal/chroot/layer"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
	"github.com/cubeos-app/releases/magefiles/internal/sys/timing"
)

// Step is a command that changes a root file system.
type Step struct {
	Argv     []string
	Env      []string  // the whole environment
	Files    []AidFile // there for the command only
	Binds    []Bind    // likewise
	Hostname string
	Output   io.Writer // what the command prints
}

// Lender gives faster programs for the time of a step. They must do the same
// as those of the layers (topmost first).
type Lender interface {
	Lend(layers []string) ([]AidFile, error)
	// Verify returns an error if something lent has got into the changes that
	// a step made.
	Verify(upper string) error
	// Blame returns a lent program that crashed, to judge by what a failed
	// step printed, or "".
	Blame(output string) string
}

// Provision runs steps, one after the other, over layers (topmost first) and
// leaves their changes in the draft's tree. lender may be nil. If what it lends
// turns out not to fit, the steps are run again without it.
func Provision(ctx context.Context, d layer.Draft, layers []string, lender Lender, steps []Step, log *progress.Reporter) error {
	if lender != nil {
		misfit, err := provisionLent(ctx, d, layers, lender, steps)
		if misfit == nil || ctx.Err() != nil {
			return err
		}
		log.Printf("warning: running this again with every program emulated: %v", misfit)
		if err := d.Empty(); err != nil {
			return err
		}
	}
	return runAll(ctx, d, layers, steps, nil)
}

func provisionLent(ctx context.Context, d layer.Draft, layers []string, lender Lender, steps []Step) (misfit, err error) {
	_, span := timing.Start(ctx, "lending native programs")
	lent, err := lender.Lend(layers)
	span.End()
	if err != nil {
		return fmt.Errorf("lending native programs: %w", err), nil
	}
	err = runAll(ctx, d, layers, steps, lent)
	if failed := new(process.Error); errors.As(err, &failed) {
		if name := lender.Blame(failed.Output); name != "" {
			return fmt.Errorf("the native %s crashed", name), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return lender.Verify(d.Tree), nil
}

func runAll(ctx context.Context, d layer.Draft, layers []string, steps []Step, lent []AidFile) error {
	for _, s := range steps {
		s.Files = slices.Concat(s.Files, lent)
		if err := s.run(ctx, d, layers); err != nil {
			return err
		}
	}
	return nil
}

// Bind shows a directory of the build machine, read-only, to a step.
type Bind struct{ From, To string }

func (s Step) run(ctx context.Context, d layer.Draft, layers []string) error {
	dir, err := os.MkdirTemp(d.Scratch, "step-")
	if err != nil {
		return err
	}
	aid, err := NewAid(filepath.Join(dir, "aid"), layers, s.Files)
	if err != nil {
		return fmt.Errorf("laying out what the step needs: %w", err)
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	// An overlay's root directory is the upper one's: it has to look like the
	// one it stands for.
	if err := likeBelow(d.Tree, layers, "."); err != nil {
		return err
	}
	c := Chroot{
		Layers:   append([]string{aid.Dir}, layers...),
		Upper:    d.Tree,
		Work:     work,
		Dir:      dir,
		Env:      s.Env,
		Binds:    s.Binds,
		Hostname: s.Hostname,
	}
	if err := (process.Cmd{Argv: c.Argv(s.Argv...), Stdout: s.Output, Stderr: s.Output}).Run(ctx); err != nil {
		return err
	}
	return aid.Scrub(d.Tree, layers)
}
