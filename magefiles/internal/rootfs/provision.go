package rootfs

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/process"
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

// Lender gives faster programs for the time of a step. They must do the
// same as those of the layers (topmost first).
type Lender interface {
	Lend(layers []string) ([]AidFile, error)
}

// Bind shows a directory of the build machine, read-only, to a step.
type Bind struct{ From, To string }

// Run runs the step over layers (topmost first) and leaves its changes in the
// draft's tree.
func (s Step) Run(ctx context.Context, d Draft, layers []string) error {
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
