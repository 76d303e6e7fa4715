package workspace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/git"
)

// Revision is what is built.
type Revision struct {
	Commit string    // in full; empty of what is no checkout
	Dirty  bool      // the checkout differs from the commit
	Time   time.Time // of the commit, in UTC
}

// ReadRevision asks git what is checked out. What is no checkout of its own is a
// source archive, in which all files have the time of its commit.
func (w Workspace) ReadRevision(ctx context.Context) (Revision, error) {
	checkout, err := git.IsCheckout(w.Root)
	if err != nil {
		return Revision{}, fmt.Errorf("looking for a git checkout: %w", err)
	}
	if !checkout {
		info, err := os.Stat(filepath.Join(w.Root, "go.mod"))
		if err != nil {
			return Revision{}, fmt.Errorf("finding out the time of the source archive: %w", err)
		}
		return Revision{Time: info.ModTime().UTC().Truncate(time.Second)}, nil
	}
	head, err := git.Head(ctx, w.Root)
	if err != nil {
		return Revision{}, fmt.Errorf("asking git what %s is: %w", w.Root, err)
	}
	changes, errChanges := git.Output(ctx, w.Root, "status", "--porcelain", "--untracked-files=no")
	seconds, errTime := git.Output(ctx, w.Root, "log", "-1", "--format=%ct")
	if err := errors.Join(errChanges, errTime); err != nil {
		return Revision{}, fmt.Errorf("asking git what %s is: %w", w.Root, err)
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return Revision{}, fmt.Errorf("reading the time of the commit: %w", err)
	}
	return Revision{Commit: head, Dirty: changes != "", Time: time.Unix(n, 0).UTC()}, nil
}
