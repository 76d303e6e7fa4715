package release

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/publish"
	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
	"github.com/cubeos-app/releases/magefiles/internal/sys/stage"
	"github.com/cubeos-app/releases/magefiles/internal/workspace"
)

// PublishOptions say what is published. It is what Run has made; nothing is
// built, so neither root nor any program is needed.
type PublishOptions struct {
	workspace.Workspace
	Profile   string
	Version   string              // by default what git describes
	Check     bool                // change nothing, and print what would be done
	Getenv    func(string) string // has the tokens
	Transport http.RoundTripper   // nil is the usual one
}

// Publish uploads what Run has made to the places that the recipe names, makes it
// visible and puts it into their lists for Raspberry Pi Imager. Run again, it
// goes on where it was cut off.
func Publish(ctx context.Context, o PublishOptions) (err error) {
	if o.Version == "" {
		if o.Version, err = artifact.VersionFromGit(ctx, o.Root); err != nil {
			return err
		}
	}
	r, err := recipe.LoadProfile(o.Root, o.Profile, map[string]string{"version": o.Version})
	if err != nil {
		return err
	}
	offer, err := offerOf(r)
	if err != nil {
		return err
	}
	places, err := Places(r)
	if err != nil {
		return err
	}
	v := r.Variables()
	what := publish.Release{Name: v.String("image_name"), Version: o.Version}
	publishable := v.Bool("publishable")
	if err := v.Err(); err != nil {
		return err
	}
	if !publishable {
		return fmt.Errorf("images of the profile %s are never released", o.Profile)
	}
	if err := os.MkdirAll(o.BuildDir(), 0o755); err != nil {
		return err
	}
	unlock, err := lock.Acquire(ctx, o.LockFile(), lock.Exclusive, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	found := o.gather(ctx, offer, &what)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	plan, err := publish.Prepare(ctx, publish.Options{Places: places, Getenv: o.Getenv, Transport: o.Transport, Log: o.Log}, what, found)
	if err != nil {
		return err
	}
	if o.Check {
		fmt.Print(plan)
		return nil
	}
	return plan.Run(ctx)
}

// gather finds the files of the release, and returns all that is wrong with them.
func (o PublishOptions) gather(ctx context.Context, offer offer, to *publish.Release) error {
	names := artifact.NamesFor(to.Name, to.Version).In(o.BuildDir())
	m, err := artifact.Verify(ctx, names.Manifest, o.Log)
	if err != nil {
		return fmt.Errorf("%w\n`go tool mage release` makes what is published", err)
	}
	to.Manifest = m
	var problems []error
	if !m.Publishable {
		problems = append(problems, fmt.Errorf("%s says that it is not publishable: the checkout had changes that were not committed", names.Manifest))
	}
	if m.Profile != o.Profile {
		problems = append(problems, fmt.Errorf("%s is of the profile %s, not %s", names.Manifest, m.Profile, o.Profile))
	}
	problems = append(problems, o.checkProof(m))
	to.Listing, err = offer.released(m)
	problems = append(problems, err)
	to.Files = []publish.File{{File: m.Compressed, Path: names.XZ}, {File: m.BlockMap, Path: names.BlockMap}}
	for _, path := range []string{names.Checksum, names.Manifest} {
		f, err := describe(path)
		to.Files = append(to.Files, f)
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// checkProof refuses an image of which it is not proven that it boots.
func (o PublishOptions) checkProof(m artifact.Manifest) error {
	report, err := boottest.ReadReport(filepath.Join(o.BuildDir(), "boot"))
	switch {
	case err != nil:
		return fmt.Errorf("it is not known whether the image boots: %w; `go tool mage release` proves it", err)
	case report.RawSHA256 != m.RawImage.SHA256:
		return fmt.Errorf("the boot proof is of another image, %s: `go tool mage release` proves this one", report.Artifact)
	case !report.Passed():
		return errors.New("the boot proof failed; build/boot tells why")
	}
	return nil
}

func describe(path string) (publish.File, error) {
	f := publish.File{Path: path}
	info, err := os.Stat(path)
	if err != nil {
		return f, err
	}
	f.Name, f.Size = filepath.Base(path), info.Size()
	f.SHA256, err = stage.FileDigest(path)
	return f, err
}
