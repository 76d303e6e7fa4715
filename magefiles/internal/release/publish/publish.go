// Package publish puts a release where anybody can download it, and into the
// lists that Raspberry Pi Imager reads.
//
// Nothing is seen of a release before all of it has arrived, no list names it
// before anybody can download it, and what is published is never changed. Every
// step looks first at what is there: cut off anywhere, the same again goes on.
package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
	"github.com/cubeos-app/releases/magefiles/internal/release/imagerlist"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

// Release is what is published.
type Release struct {
	Name     string // the recipe's image_name
	Version  string
	Manifest artifact.Manifest
	Files    []File
	Listing  imagerlist.Listing // how Imager's lists offer it
}

// File is a file of a release on this machine.
type File struct {
	artifact.File
	Path string
}

func (r Release) tag() string { return "v" + r.Version }

// Options say where a release goes, and how.
type Options struct {
	Places []Place
	Getenv func(string) string // has the tokens
	// Transport carries what is said to servers; nil is the usual one.
	Transport http.RoundTripper
	// Wait waits before something is tried again; nil waits as long as it is told.
	Wait func(context.Context, time.Duration) error
	Log  *progress.Reporter
}

// Plan is a release of which nothing stands in the way.
type Plan struct {
	o        Options
	r        Release
	jobs     []*job
	stranger *http.Client // one without any token
}

// job is a release at one place.
type job struct {
	Place
	server
	notes string
}

// server is what has to be known of GitHub and GitLab. Each method may be called
// again after it has failed.
type server interface {
	// look asks what is there.
	look(ctx context.Context) error
	// check returns all that stands in the way of what look has found. The commit is
	// what the tag has to be of; "" if it is not known.
	check(ctx context.Context, commit string) error
	// visible says whether everybody sees the release. It is known after look.
	visible() bool
	// versions are those published, as far as look saw them.
	versions() []string
	// limit is the size from which on a file is refused.
	limit() int64
	// begin prepares the place for files that nobody sees yet.
	begin(ctx context.Context, notes string) error
	files(ctx context.Context) ([]remoteFile, error)
	send(ctx context.Context, name string, content upload) error
	remove(ctx context.Context, f remoteFile) error
	// show makes the release visible with the files that are there.
	show(ctx context.Context, notes string) error
	// list returns a channel's list and what writeList needs to replace just that.
	// It is empty where there is none.
	list(ctx context.Context, c Channel) (content []byte, revision string, err error)
	writeList(ctx context.Context, c Channel, content []byte, revision string) error
	listURL(c Channel) string
}

// remoteFile is a file of a release at a server.
type remoteFile struct {
	artifact.File // the digest is empty where it was never completed
	id            int64
	of            int64 // the package of GitLab that it is in
	whole         bool
}

// is says whether it is the file that was meant to get there.
func (f remoteFile) is(want artifact.File) bool { return f.whole && f.File == want }

// String tells it apart from one that was meant to get there.
func (f remoteFile) String() string {
	if !f.whole {
		return "half of " + f.Name
	}
	return fmt.Sprintf("%s of %d bytes with the SHA-256 %s", f.Name, f.Size, f.SHA256)
}

// Prepare finds out whether the release can be published, and returns all that
// stands in the way at once. found is what is known to be wrong with the release
// itself: the places are looked at all the same. Nothing is changed anywhere.
func Prepare(ctx context.Context, o Options, r Release, found error) (*Plan, error) {
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	o.Transport = watched{o.Transport}
	if o.Wait == nil {
		o.Wait = sleep
	}
	p := &Plan{o: o, r: r, stranger: &http.Client{Transport: o.Transport}}
	problems := []error{found, checkVersion(r.Version)}
	for _, place := range o.Places {
		s, err := p.connect(place)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		j := &job{Place: place, server: s}
		p.jobs = append(p.jobs, j)
		problems = append(problems, p.prepare(ctx, j, found == nil))
	}
	if len(o.Places) == 0 {
		problems = append(problems, errors.New("no place to publish to is given"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("%s can not be published:\n%w", r.tag(), err)
	}
	return p, nil
}

func checkVersion(version string) error {
	if err := artifact.CheckVersion(version); err != nil {
		return err
	}
	if development(version) {
		return fmt.Errorf("version %s is of a commit, not of a tag: tag the commit, as in v1.2.3, and make the release of that", version)
	}
	return nil
}

func (p *Plan) connect(place Place) (server, error) {
	if place.Kind == GitLab {
		return newGitLab(place, p)
	}
	return newGitHub(place, p)
}

// prepare looks whether a place can take the release. sound says that the
// release itself is known.
func (p *Plan) prepare(ctx context.Context, j *job, sound bool) error {
	var paths []string
	for _, f := range p.r.Files {
		paths = append(paths, f.Path)
	}
	problems := []error{artifact.CheckAssets(j.limit(), paths...)}
	at := "looking at " + j.String()
	if err := p.try(ctx, at, j.look); err != nil {
		return errors.Join(append(problems, err)...)
	}
	problems = append(problems, p.try(ctx, at, func(ctx context.Context) error { return j.check(ctx, p.r.Manifest.Commit) }))
	if !sound {
		return errors.Join(problems...)
	}
	problems = append(problems, p.compare(ctx, j))
	for _, c := range channels(p.r.Version) {
		_, _, _, err := p.nextList(ctx, j, c)
		problems = append(problems, err)
	}
	notes, err := p.writeNotes(ctx, j)
	j.notes = notes
	return errors.Join(append(problems, err)...)
}

// compare refuses to change what is published, and files in the place that are
// not of this release.
func (p *Plan) compare(ctx context.Context, j *job) error {
	var there []remoteFile
	err := p.try(ctx, "listing the files of "+p.r.tag()+" at "+j.String(), func(ctx context.Context) (err error) {
		there, err = j.files(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var problems []error
	for _, f := range there {
		if !slices.ContainsFunc(p.r.Files, func(ours File) bool { return ours.Name == f.Name }) {
			problems = append(problems, fmt.Errorf("%s is no file of this release", f.Name))
		}
	}
	if j.visible() {
		for _, want := range p.r.Files {
			same := named(there, want.Name)
			if len(same) != 1 || !same[0].is(want.File) {
				problems = append(problems, fmt.Errorf("%s is %v there, not of %d bytes with the SHA-256 %s", want.Name, same, want.Size, want.SHA256))
			}
		}
		if err := errors.Join(problems...); err != nil {
			return fmt.Errorf("%s is published at %s already, and is another: what is published is never changed, so give this release another version:\n%w", p.r.tag(), j, err)
		}
		return nil
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%s has files that would be published, too: remove them there:\n%w", j, err)
	}
	return nil
}

func named(files []remoteFile, name string) []remoteFile {
	return slices.DeleteFunc(slices.Clone(files), func(f remoteFile) bool { return f.Name != name })
}

// String says what will be done.
func (p *Plan) String() string {
	var b strings.Builder
	for _, j := range p.jobs {
		if j.visible() {
			fmt.Fprintf(&b, "%s is published at %s; only what is missing of the lists will be done.\n", p.r.tag(), j)
			continue
		}
		fmt.Fprintf(&b, "%s will be published at %s with these notes:\n\n%s\n", p.r.tag(), j, j.notes)
	}
	return b.String()
}

// Run publishes the release at all places, and then in the lists of all.
func (p *Plan) Run(ctx context.Context) error {
	for _, j := range p.jobs {
		if err := p.upload(ctx, j); err != nil {
			return err
		}
	}
	for _, j := range p.jobs {
		for _, f := range p.r.Files {
			if err := p.verifyPublic(ctx, j, f); err != nil {
				return err
			}
		}
		p.o.Log.Printf("anybody can download %s from %s", p.r.tag(), strings.TrimSuffix(j.download(p.r.Version, ""), "/"))
	}
	for _, j := range p.jobs {
		for _, c := range channels(p.r.Version) {
			if err := p.offer(ctx, j, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// upload brings the files of the release to a place, and makes them visible.
func (p *Plan) upload(ctx context.Context, j *job) error {
	if j.visible() {
		p.o.Log.Printf("%s is published at %s already", p.r.tag(), j)
		return nil
	}
	begin := func(ctx context.Context) error { return j.begin(ctx, j.notes) }
	if err := p.try(ctx, "preparing "+p.r.tag()+" at "+j.String(), begin); err != nil {
		return err
	}
	for _, f := range p.r.Files {
		bring := func(ctx context.Context) error { return p.bring(ctx, j, f) }
		if err := p.try(ctx, "uploading "+f.Name+" to "+j.String(), bring); err != nil {
			return err
		}
	}
	show := func(ctx context.Context) error { return j.show(ctx, j.notes) }
	if err := p.try(ctx, "publishing "+p.r.tag()+" at "+j.String(), show); err != nil {
		return err
	}
	p.o.Log.Printf("%s is published at %s/%s", p.r.tag(), j.Server, j.Path)
	return nil
}
