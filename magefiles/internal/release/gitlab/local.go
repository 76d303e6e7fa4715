package gitlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// CheckJob is the job of every pipeline.
const CheckJob = "check"

// Local says which job to run on this machine.
type Local struct {
	Root   string // of the checkout, whose last commit is what the job sees
	Pins   string // of the checkout that pins the parser
	Job    string
	Cache  string // of npm's packages
	Output io.Writer

	Variables map[string]string // the person's who starts it by hand
}

// RunLocally runs a job as GitLab's shell executor would: in a clone of its own, with
// the variables of a manual run of a protected branch.
func RunLocally(ctx context.Context, o Local) (err error) {
	dir, err := os.MkdirTemp("", "cubeos-ci-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := OpenParser(ctx, o.Pins, dir, o.Cache)
	if err != nil {
		return err
	}
	clone := filepath.Join(dir, "releases")
	for _, argv := range [][]string{
		{"git", "clone", "--quiet", "--no-hardlinks", o.Root, clone},
		{"git", "-C", clone, "remote", "set-url", "origin", remote},
	} {
		if err := process.Run(ctx, argv...); err != nil {
			return fmt.Errorf("cloning what is committed: %w", err)
		}
	}
	variables := map[string]string{
		"GITLAB_CI": "true", "CI_PIPELINE_SOURCE": "web", protected: "true",
		"CI_COMMIT_BRANCH": "main", "CI_COMMIT_TAG": "",
	}
	maps.Copy(variables, o.Variables)
	if err := p.run(ctx, clone, variables, o.Output, o.Output, "--force-shell-executor", o.Job); err != nil {
		return fmt.Errorf("the job %s: %w", o.Job, err)
	}
	return nil
}
