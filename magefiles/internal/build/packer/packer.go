// Package packer runs the recipe with Packer itself: in the container of
// mkaczanowski/packer-builder-arm, through the API of a Docker daemon on this
// machine or another.
package packer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/build/embedded"
	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Engine is the engine that asks Docker. The names of files are relative to
// Root, as they are in the recipe.
type Engine struct {
	Builder  Builder
	Root     string // of the checkout
	Template string // *.pkr.hcl
	VarFile  string // *.pkrvars.hcl
	Vars     map[string]string
	Lock     string // the file that is locked for as long as the build runs
	Log      *progress.Reporter

	// Pin, if not nil, is told the digest of a builder that came without one.
	Pin func(digest string) error
}

// undoWithin is how long a build has to clean up behind itself.
const undoWithin = 2 * time.Minute

// Check finds out whether there is a Docker daemon to work with.
func Check(ctx context.Context) error {
	daemon, err := connect(ctx)
	if err != nil {
		return err
	}
	return daemon.Close()
}

func connect(ctx context.Context) (*client.Client, error) {
	daemon, err := dockerd.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w; building with -engine=embedded needs none", err)
	}
	return daemon, nil
}

// Build implements engine.Engine.
func (e Engine) Build(ctx context.Context, job build.Job) (err error) {
	if err := e.check(job); err != nil {
		return err
	}
	docker, err := connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	if err := e.sweep(ctx, docker, filepath.Dir(job.Image)); err != nil {
		return err
	}
	digest, err := e.Builder.present(ctx, docker, e.Log)
	if err != nil {
		return err
	}
	if e.Pin != nil && e.Builder.Digest == "" && digest != "" {
		if err := e.Pin(digest); err != nil {
			return err
		}
	}
	b := &packerRun{Engine: e, job: job, docker: docker, id: rand.Text()[:10]}
	b.output = filepath.Join(filepath.Dir(job.Image), outputPrefix+b.id)
	if err := os.Mkdir(b.output, 0o755); err != nil {
		return fmt.Errorf("preparing a directory for what Packer makes: %w", err)
	}
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoWithin)
		defer cancel()
		err = errors.Join(err, b.undo(undo))
	}()
	if err := b.run(ctx); err != nil {
		return err
	}
	return embedded.Repack(ctx, job, b.made(), filepath.Join(b.output, "tree"), e.Log)
}

// check refuses what Packer could not see in its container, and a machine
// whose traces could not be told from others'.
func (e Engine) check(job build.Job) error {
	var problems []error
	if dockerd.HostID() == "" {
		problems = append(problems, errors.New("this machine has no host name, so what a killed build leaves in a Docker daemon could not be told from another machine's: set one"))
	}
	for _, path := range named(job) {
		if !e.holds(path) {
			problems = append(problems, fmt.Errorf("the recipe names %s, which is or leads outside of %s: the builder's container does not see it", path, e.Root))
		}
	}
	return errors.Join(problems...)
}

// holds reports whether path, and what it leads to if it is a link, is in the
// checkout.
func (e Engine) holds(path string) bool {
	root, errRoot := filepath.EvalSymlinks(e.Root)
	actual, err := filepath.EvalSymlinks(path)
	if err != nil || errRoot != nil {
		actual, root = path, e.Root // a build says what is missing
	}
	rel, err := filepath.Rel(root, actual)
	return filepath.IsLocal(e.rel(path)) && err == nil && filepath.IsLocal(rel)
}

func (e Engine) rel(path string) string {
	rel, err := filepath.Rel(e.Root, path)
	if err != nil {
		return path
	}
	return rel
}

// named lists the scripts and sources of the recipe.
func named(job build.Job) []string {
	var paths []string
	for _, p := range job.Recipe.Provisioners {
		paths = append(paths, p.Scripts...)
		paths = append(paths, p.Sources...)
	}
	return paths
}

// packerRun is one run of Packer.
type packerRun struct {
	Engine
	job    build.Job
	docker *client.Client

	id        string
	output    string        // a directory of this machine for what comes out
	mounts    []mount.Mount // of the container
	volume    string        // of the daemon; "" if it sees this machine's files
	container string        // once it is created
	finished  bool          // Packer ended by itself, having undone its own
}

const outputPrefix = "packer-"

// made is the image that Packer made, once it is on this machine.
func (b *packerRun) made() string { return filepath.Join(b.output, filepath.Base(b.job.Image)) }

func (b *packerRun) run(ctx context.Context) error {
	if err := b.create(ctx); err != nil {
		return err
	}
	if b.volume != "" {
		if err := b.copyIn(ctx); err != nil {
			return err
		}
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	if b.volume != "" {
		return b.copyOut(ctx)
	}
	if _, err := os.Stat(b.made()); err != nil {
		return fmt.Errorf("looking for the image that Packer says it made: %w", err)
	}
	return nil
}
