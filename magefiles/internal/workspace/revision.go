package workspace

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Revision is what git says of a checkout.
type Revision struct {
	Commit string    // in full
	Dirty  bool      // the checkout differs from the commit
	Time   time.Time // of the commit, in UTC
}

// ReadRevision asks git what is checked out.
func (w Workspace) ReadRevision(ctx context.Context) (Revision, error) {
	var problems []error
	git := func(args ...string) string {
		out, err := process.Output(ctx, append([]string{"git", "-C", w.Root}, args...)...)
		problems = append(problems, err)
		return out
	}
	r := Revision{
		Commit: git("rev-parse", "HEAD"),
		Dirty:  git("status", "--porcelain", "--untracked-files=no") != "",
	}
	seconds := git("log", "-1", "--format=%ct")
	if err := errors.Join(problems...); err != nil {
		return r, fmt.Errorf("asking git what %s is: %w", w.Root, err)
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return r, fmt.Errorf("reading the time of the commit: %w", err)
	}
	r.Time = time.Unix(n, 0).UTC()
	return r, nil
}
