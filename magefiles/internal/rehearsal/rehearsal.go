// Package rehearsal goes the whole road of a release on a machine that reaches none
// of the hosts it needs: profile pios in a clone of the checkout, of which only
// addresses are changed, with the commands that a person would type. What is
// published is then fetched and booted as a stranger would.
package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/boottest/card"
	"github.com/cubeos-app/releases/magefiles/internal/lab"
	"github.com/cubeos-app/releases/magefiles/internal/rehearsal/hosts"
	"github.com/cubeos-app/releases/magefiles/internal/release/publish/publishtest"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// Options say what is rehearsed.
type Options struct {
	workspace.Workspace
	BaseImage string      // raw, behaves like Raspberry Pi OS
	Suite     string      // of Debian, the base image's
	Mirror    string      // of Debian, a URL
	Lab       lab.Options // what the registry is filled with
	Scenarios string      // that the release is put through
	// Boot proves that an image works; report and evidence go to dir.
	Boot func(ctx context.Context, a card.Artifact, dir string) error
}

// version is what is released. No real version is older.
const version = "0.0.1"

// step is a part of the rehearsal and the time it took.
type step struct {
	name string
	took time.Duration
}

type rehearsal struct {
	Options
	dir       string
	authority *hosts.Authority
	addresses addresses
	github    *publishtest.GitHub
	gitlab    *publishtest.GitLab
	found     card.Artifact
	stops     []func() error
	steps     []step
}

// Run rehearses a release and prints how long each of its steps took.
func Run(ctx context.Context, o Options) (err error) {
	r := &rehearsal{Options: o, dir: filepath.Join(o.BuildDir(), "rehearsal")}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	defer func() {
		for _, stop := range r.stops {
			err = errors.Join(err, stop())
		}
		r.report()
	}()
	for _, s := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"base image, served as .img.xz", r.serveBaseImage},
		{"Docker's repository", r.serveDocker},
		{"registry", r.serveRegistry},
		{"GitHub and GitLab", r.servePlaces},
		{"clone with other addresses", r.clone},
		{"mage download -update", r.download},
		{"mage release", r.release},
		{"mage publish", r.publish},
		{"a stranger downloads and verifies", r.fetch},
		{"a stranger boots", r.boot},
	} {
		o.Log.Printf("rehearsal: %s", s.name)
		started := time.Now()
		err := s.do(ctx)
		r.steps = append(r.steps, step{s.name, time.Since(started)})
		if err != nil {
			return fmt.Errorf("rehearsing a release: %s: %w", s.name, err)
		}
	}
	return nil
}
