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
	Env      []string       // the whole environment
	Files    []InjectedFile // there for the command only
	Binds    []Bind         // likewise
	Hostname string
	Output   io.Writer // what the command prints
}

// NativeOverlay has programs of the build machine that do the same as those of a
// root file system, only faster.
type NativeOverlay interface {
	// Files returns those to inject over layers (topmost first).
	Files(layers []string) ([]InjectedFile, error)
	// Verify returns an error if one of them has got into the changes that a
	// step made.
	Verify(upper string) error
	// Crashed returns the one that crashed, to judge by what a failed step
	// printed, or "".
	Crashed(output string) string
}

// Provision runs steps, one after the other, over layers (topmost first) and
// leaves their changes in the draft's tree. native may be nil. If its programs
// turn out not to fit, the steps are run again without them.
func Provision(ctx context.Context, d layer.Draft, layers []string, native NativeOverlay, steps []Step, log *progress.Reporter) error {
	if native != nil {
		unfit, err := provisionNatively(ctx, d, layers, native, steps)
		if unfit == nil || ctx.Err() != nil {
			return err
		}
		log.Printf("warning: running this again with every program emulated: %v", unfit)
		if err := d.Empty(); err != nil {
			return err
		}
	}
	return runAll(ctx, d, layers, steps, nil)
}

// provisionNatively returns as unfit why the native programs cannot be used.
func provisionNatively(ctx context.Context, d layer.Draft, layers []string, native NativeOverlay, steps []Step) (unfit, err error) {
	_, span := timing.Start(ctx, "choosing native programs")
	files, err := native.Files(layers)
	span.End()
	if err != nil {
		return fmt.Errorf("choosing native programs: %w", err), nil
	}
	err = runAll(ctx, d, layers, steps, files)
	if failed := new(process.Error); errors.As(err, &failed) {
		if name := native.Crashed(failed.Output); name != "" {
			return fmt.Errorf("the native %s crashed", name), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return native.Verify(d.Tree), nil
}

// runAll runs steps with more files injected than their own.
func runAll(ctx context.Context, d layer.Draft, layers []string, steps []Step, more []InjectedFile) error {
	for _, s := range steps {
		s.Files = slices.Concat(s.Files, more)
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
	injected, err := NewInjectedLayer(filepath.Join(dir, "injected"), layers, s.Files)
	if err != nil {
		return fmt.Errorf("laying out the files that the step needs: %w", err)
	}
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	// An overlay's root directory is the upper one's: it has to look like the
	// one it stands for.
	if err := copyAttributes(d.Tree, layers, "."); err != nil {
		return err
	}
	c := Chroot{
		Layers:   append([]string{injected.Dir}, layers...),
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
	return injected.Scrub(d.Tree, layers)
}
