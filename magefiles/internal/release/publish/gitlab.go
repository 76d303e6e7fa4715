package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gitlab "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// gitLab publishes as a generic package of a project, and as a release that
// links to its files once all have arrived. The lists are files of another
// package, of which the newest of a name is the one that is downloaded.
type gitLab struct {
	place  Place
	r      Release
	plan   *Plan
	client *gitlab.Client
	token  string // where it comes from

	project   *gitlab.Project
	released  bool
	published []string // versions
}

// Where a token of GitLab is expected: one of a person or project that may use
// the API as a Developer, or that of the CI job.
const (
	tokenGitLab = "GITLAB_TOKEN"
	tokenOfJob  = "CI_JOB_TOKEN" //nolint:gosec // where it is expected
	serverOfJob = "CI_SERVER_URL"
)

// listPackage is the package of the lists; its versions are the channels.
const listPackage = "rpi-imager"

// gitLabLimit is GitLab's own limit of a file of a generic package, and
// gitlab.com's.
const gitLabLimit = 5 << 30

func newGitLab(place Place, p *Plan) (*gitLab, error) {
	options := []gitlab.ClientOptionFunc{
		gitlab.WithBaseURL(place.Server),
		gitlab.WithHTTPClient(&http.Client{Transport: p.o.Transport}),
		gitlab.WithoutRetries(), // try does that
	}
	g := &gitLab{place: place, r: p.r, plan: p, token: tokenGitLab}
	connect, token := gitlab.NewClient, p.o.Getenv(tokenGitLab)
	if token == "" {
		g.token = tokenOfJob
		connect, token = gitlab.NewJobClient, p.o.Getenv(tokenOfJob)
		if server := strings.TrimSuffix(p.o.Getenv(serverOfJob), "/"); token != "" && server != place.Server {
			return nil, fmt.Errorf("%s: %s is not set, and %s is of another server, %q", place, tokenGitLab, tokenOfJob, server)
		}
	}
	if token == "" {
		return nil, fmt.Errorf("%s: neither %s nor, in a job, %s is set: give one a token that may use the API as a Developer", place, tokenGitLab, tokenOfJob)
	}
	client, err := connect(token, options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	g.client = client
	return g, nil
}

func (g *gitLab) limit() int64       { return gitLabLimit }
func (g *gitLab) visible() bool      { return g.released }
func (g *gitLab) versions() []string { return g.published }

func (g *gitLab) look(ctx context.Context) (err error) {
	g.project, _, err = g.client.Projects.GetProject(g.place.Path, nil, gitlab.WithContext(ctx))
	if isStatus(err, http.StatusNotFound) {
		return errors.New("there is no such project that everybody may see")
	}
	if err == nil {
		err = g.findReleases(ctx)
	}
	if isStatus(err, http.StatusUnauthorized) {
		return fmt.Errorf("%s is refused: it is wrong or has expired", g.token)
	}
	return err
}

func (g *gitLab) check(ctx context.Context, commit string) error {
	var problems []error
	if g.project.Visibility != gitlab.PublicVisibility {
		problems = append(problems, fmt.Errorf("the project is %s, so nobody else could download a release", g.project.Visibility))
	}
	// What a job may do, GitLab does not tell it.
	if g.token == tokenGitLab && accessLevel(g.project) < gitlab.DeveloperPermissions {
		problems = append(problems, fmt.Errorf("%s may not write to it: it has to be a Developer's", g.token))
	}
	if commit != "" {
		problems = append(problems, g.checkTag(ctx, commit))
	}
	return errors.Join(problems...)
}

func accessLevel(p *gitlab.Project) gitlab.AccessLevelValue {
	level := gitlab.NoPermissions
	if p.Permissions == nil {
		return level
	}
	if a := p.Permissions.ProjectAccess; a != nil {
		level = max(level, a.AccessLevel)
	}
	if a := p.Permissions.GroupAccess; a != nil {
		level = max(level, a.AccessLevel)
	}
	return level
}

// checkTag refuses a tag of another commit than the image was made from. Where
// there is no tag yet, the release makes it, of that commit.
func (g *gitLab) checkTag(ctx context.Context, commit string) error {
	tag, _, err := g.client.Tags.GetTag(g.place.Path, g.r.tag(), gitlab.WithContext(ctx))
	switch {
	case isStatus(err, http.StatusNotFound):
		_, _, err = g.client.Commits.GetCommit(g.place.Path, commit, nil, gitlab.WithContext(ctx))
		if isStatus(err, http.StatusNotFound) {
			return fmt.Errorf("the commit %s that the image was made from is not there: push it", commit)
		}
		return err
	case err != nil:
		return err
	case tag.Commit != nil && tag.Commit.ID != commit:
		return fmt.Errorf("the tag %s is at commit %s there, but the image was made from %s", g.r.tag(), tag.Commit.ID, commit)
	}
	return nil
}

func (g *gitLab) findReleases(ctx context.Context) error {
	g.released, g.published = false, nil
	o := &gitlab.ListReleasesOptions{ListOptions: gitlab.ListOptions{PerPage: 100}}
	for {
		page, resp, err := g.client.Releases.ListReleases(g.place.Path, o, gitlab.WithContext(ctx))
		if err != nil {
			return err
		}
		for _, r := range page {
			if r.TagName == g.r.tag() {
				g.released = true
			} else {
				g.published = append(g.published, strings.TrimPrefix(r.TagName, "v"))
			}
		}
		if resp.NextPage == 0 {
			return nil
		}
		o.Page = resp.NextPage
	}
}

// begin has nothing to do: a package is there with its first file.
func (g *gitLab) begin(context.Context, string) error { return nil }

// packages returns the ids of the packages of the version: one, or none.
func (g *gitLab) packages(ctx context.Context) ([]int64, error) {
	// The name is searched for, so others are found, too.
	o := &gitlab.ListProjectPackagesOptions{
		ListOptions: gitlab.ListOptions{PerPage: 100},
		PackageType: new("generic"), PackageName: &g.r.Name, PackageVersion: &g.r.Version,
	}
	var ids []int64
	for {
		page, resp, err := g.client.Packages.ListProjectPackages(g.place.Path, o, gitlab.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			if p.Name == g.r.Name && p.Version == g.r.Version {
				ids = append(ids, p.ID)
			}
		}
		if resp.NextPage == 0 {
			return ids, nil
		}
		o.Page = resp.NextPage
	}
}

func (g *gitLab) files(ctx context.Context) ([]remoteFile, error) {
	ids, err := g.packages(ctx)
	if err != nil {
		return nil, err
	}
	var all []remoteFile
	for _, id := range ids {
		o := &gitlab.ListPackageFilesOptions{ListOptions: gitlab.ListOptions{PerPage: 100}}
		for {
			page, resp, err := g.client.Packages.ListPackageFiles(g.place.Path, id, o, gitlab.WithContext(ctx))
			if err != nil {
				return nil, err
			}
			for _, f := range page {
				all = append(all, remoteFile{
					File: artifact.File{Name: f.FileName, Size: f.Size, SHA256: f.FileSHA256},
					id:   f.ID, of: id, whole: f.FileSHA256 != "",
				})
			}
			if resp.NextPage == 0 {
				break
			}
			o.Page = resp.NextPage
		}
	}
	return all, nil
}

func (g *gitLab) send(ctx context.Context, name string, content upload) error {
	_, _, err := g.client.GenericPackages.PublishPackageFile(g.place.Path, g.r.Name, g.r.Version, name, content, nil, gitlab.WithContext(ctx))
	return err
}

func (g *gitLab) remove(ctx context.Context, f remoteFile) error {
	_, err := g.client.Packages.DeletePackageFile(g.place.Path, f.of, f.id, gitlab.WithContext(ctx))
	switch {
	case isStatus(err, http.StatusNotFound):
		return nil
	case isStatus(err, http.StatusForbidden):
		return fmt.Errorf("%w\nonly a Maintainer may remove a file of a package: let one remove %s, or start the pipeline", err, f.Name)
	}
	return err
}

func (g *gitLab) show(ctx context.Context, notes string) error {
	if err := g.findReleases(ctx); err != nil || g.released {
		return err
	}
	var links []*gitlab.ReleaseAssetLinkOptions
	for _, f := range g.r.Files {
		links = append(links, &gitlab.ReleaseAssetLinkOptions{
			Name: new(f.Name), URL: new(g.packageURL(g.r.Name, g.r.Version, f.Name)),
			DirectAssetPath: new("/" + f.Name), LinkType: new(gitlab.PackageLinkType),
		})
	}
	_, _, err := g.client.Releases.CreateRelease(g.place.Path, &gitlab.CreateReleaseOptions{
		Name: new(g.r.tag()), TagName: new(g.r.tag()), Ref: &g.r.Manifest.Commit, Description: &notes,
		Assets: &gitlab.ReleaseAssetsOptions{Links: links},
	}, gitlab.WithContext(ctx))
	if isStatus(err, http.StatusConflict) {
		return passing{err} // it is there since it was looked for
	}
	if err == nil {
		g.released = true
	}
	return err
}

func (g *gitLab) packageURL(name, version, file string) string {
	return fmt.Sprintf("%s/api/v4/projects/%s/packages/generic/%s/%s/%s",
		g.place.Server, strings.ReplaceAll(g.place.Path, "/", "%2F"), name, version, file)
}

func (g *gitLab) list(ctx context.Context, c Channel) ([]byte, string, error) {
	var content bytes.Buffer
	err := g.plan.get(ctx, g.listURL(c), &content)
	if isStatus(err, http.StatusNotFound) {
		return nil, "", nil
	}
	return content.Bytes(), "", err
}

func (g *gitLab) writeList(ctx context.Context, c Channel, content []byte, _ string) error {
	_, _, err := g.client.GenericPackages.PublishPackageFile(g.place.Path, listPackage, string(c), c.File(), bytes.NewReader(content), nil, gitlab.WithContext(ctx))
	if isStatus(err, http.StatusBadRequest, http.StatusForbidden) {
		return fmt.Errorf("%w\nthe group's settings have to allow duplicates of generic packages named %s: a list is replaced by a newer one of its name", err, listPackage)
	}
	return err
}

func (g *gitLab) listURL(c Channel) string {
	return g.packageURL(listPackage, string(c), c.File())
}
