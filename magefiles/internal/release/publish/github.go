package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-github/v93/github"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// gitHub publishes as a release of a repository, which is a draft until all has
// arrived. The lists are files of its default branch.
type gitHub struct {
	place       Place
	r           Release
	client      *github.Client
	stranger    *http.Client
	owner, repo string

	repository *github.Repository
	release    *github.RepositoryRelease // nil if there is none
	published  []string                  // versions
}

// tokenGitHub is where a token of GitHub is expected. It has to have the
// permission to write the repository's contents.
const tokenGitHub = "GITHUB_TOKEN" //nolint:gosec // where it is expected

func newGitHub(place Place, p *Plan) (*gitHub, error) {
	token := p.o.Getenv(tokenGitHub)
	if token == "" {
		return nil, fmt.Errorf("%s: %s is not set: give it a token that may write the repository's contents", place, tokenGitHub)
	}
	options := []github.ClientOptionsFunc{
		github.WithHTTPClient(&http.Client{Transport: p.o.Transport}),
		github.WithAuthToken(token),
		// A limit is kept to by try.
		github.WithDisableRateLimitCheck(),
	}
	if place.Server != place.usualServer() {
		options = append(options, github.WithEnterpriseURLs(place.Server, place.Server))
	}
	client, err := github.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place, err)
	}
	owner, repo, _ := strings.Cut(place.Path, "/")
	return &gitHub{place: place, r: p.r, client: client, stranger: p.stranger, owner: owner, repo: repo}, nil
}

func (g *gitHub) limit() int64       { return artifact.GitHubAssetLimit }
func (g *gitHub) visible() bool      { return g.release != nil && !g.release.Draft }
func (g *gitHub) versions() []string { return g.published }

func (g *gitHub) look(ctx context.Context) (err error) {
	g.repository, _, err = g.client.Repositories.Get(ctx, g.owner, g.repo)
	switch {
	case isStatus(err, http.StatusUnauthorized):
		return fmt.Errorf("%s is refused: it is wrong or has expired", tokenGitHub)
	case isStatus(err, http.StatusNotFound):
		return fmt.Errorf("there is no such repository, or %s may not see it", tokenGitHub)
	case err != nil:
		return err
	}
	return g.findRelease(ctx)
}

func (g *gitHub) check(ctx context.Context, commit string) error {
	var problems []error
	if !g.repository.GetPermissions().GetPush() {
		problems = append(problems, fmt.Errorf("%s may not write to it: it needs the permission to write contents", tokenGitHub))
	}
	if g.repository.GetPrivate() {
		problems = append(problems, errors.New("the repository is private, so nobody else could download a release"))
	}
	if g.repository.GetArchived() {
		problems = append(problems, errors.New("the repository is archived"))
	}
	if commit != "" {
		problems = append(problems, g.checkTag(ctx, commit))
	}
	return errors.Join(problems...)
}

// checkTag refuses a tag of another commit than the image was made from. Where
// there is no tag yet, publishing makes it, of that commit.
func (g *gitHub) checkTag(ctx context.Context, commit string) error {
	tagged, err := g.commit(ctx, "tags/"+g.r.tag())
	if err != nil {
		return err
	}
	if tagged != "" && tagged != commit {
		return fmt.Errorf("the tag %s is at commit %s there, but the image was made from %s", g.r.tag(), tagged, commit)
	}
	known, err := g.commit(ctx, commit)
	if err == nil && known == "" {
		err = fmt.Errorf("the commit %s that the image was made from is not there: push it", commit)
	}
	return err
}

// commit resolves a reference, to "" if there is none.
func (g *gitHub) commit(ctx context.Context, ref string) (string, error) {
	sha, _, err := g.client.Repositories.GetCommitSHA1(ctx, g.owner, g.repo, ref, "")
	if isStatus(err, http.StatusNotFound, http.StatusUnprocessableEntity) {
		return "", nil
	}
	return sha, err
}

// findRelease finds the release of the version, and the versions of all others.
// A draft is only in the list of all.
func (g *gitHub) findRelease(ctx context.Context) error {
	g.release, g.published = nil, nil
	var drafts []*github.RepositoryRelease
	opts := &github.ListOptions{PerPage: 100}
	for {
		page, resp, err := g.client.Repositories.ListReleases(ctx, g.owner, g.repo, opts)
		if err != nil {
			return err
		}
		for _, r := range page {
			switch {
			case r.Draft && r.TagName == g.r.tag():
				drafts = append(drafts, r)
			case r.TagName == g.r.tag():
				g.release = r
			case !r.Draft:
				g.published = append(g.published, strings.TrimPrefix(r.TagName, "v"))
			}
		}
		if resp.NextPage == 0 {
			break
		}
		opts.Page = resp.NextPage
	}
	switch {
	case len(drafts) > 1 || len(drafts) == 1 && g.release != nil:
		return fmt.Errorf("there are several releases of the tag %s, drafts among them: delete those that are too many", g.r.tag())
	case len(drafts) == 1:
		g.release = drafts[0]
	}
	return nil
}

func (g *gitHub) begin(ctx context.Context, notes string) error {
	if err := g.findRelease(ctx); err != nil {
		return err
	}
	if g.release != nil {
		return g.update(ctx, notes, true)
	}
	r, _, err := g.client.Repositories.CreateRelease(ctx, g.owner, g.repo, github.CreateReleaseRequest{
		TagName: g.r.tag(), TargetCommitish: &g.r.Manifest.Commit, Name: new(g.r.tag()), Body: &notes,
		Draft: new(true), Prerelease: new(preRelease(g.r.Version)),
	})
	if err == nil {
		g.release = r
	}
	return err
}

// update makes the release what it has to be.
func (g *gitHub) update(ctx context.Context, notes string, draft bool) error {
	request := github.UpdateReleaseRequest{
		TagName: new(g.r.tag()), TargetCommitish: &g.r.Manifest.Commit, Name: new(g.r.tag()), Body: &notes,
		Draft: &draft, Prerelease: new(preRelease(g.r.Version)),
	}
	if !draft && !preRelease(g.r.Version) {
		request.MakeLatest = new("legacy") // the highest version, not the last one published
	}
	r, _, err := g.client.Repositories.UpdateRelease(ctx, g.owner, g.repo, g.release.ID, request)
	if err == nil {
		g.release = r
	}
	return err
}

func (g *gitHub) show(ctx context.Context, notes string) error { return g.update(ctx, notes, false) }

func (g *gitHub) files(ctx context.Context) ([]remoteFile, error) {
	if g.release == nil {
		return nil, nil
	}
	var all []remoteFile
	opts := &github.ListOptions{PerPage: 100}
	for {
		page, resp, err := g.client.Repositories.ListReleaseAssets(ctx, g.owner, g.repo, g.release.ID, opts)
		if err != nil {
			return nil, err
		}
		for _, a := range page {
			f, err := g.file(ctx, a)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
		if resp.NextPage == 0 {
			return all, nil
		}
		opts.Page = resp.NextPage
	}
}

// file describes an asset. GitHub tells its digest; servers of one's own before
// version 3.18 do not, so it is read there.
func (g *gitHub) file(ctx context.Context, a *github.ReleaseAsset) (remoteFile, error) {
	f := remoteFile{
		File: artifact.File{Name: a.GetName(), Size: int64(a.GetSize()), SHA256: strings.TrimPrefix(a.GetDigest(), "sha256:")},
		id:   a.GetID(), whole: a.GetState() == "uploaded",
	}
	if !f.whole || f.SHA256 != "" {
		return f, nil
	}
	content, _, err := g.client.Repositories.DownloadReleaseAsset(ctx, g.owner, g.repo, f.id, g.stranger)
	if err != nil {
		return f, err
	}
	defer content.Close()
	read, err := digest(func(w io.Writer) error {
		_, err := io.Copy(w, content)
		return err
	})
	f.SHA256 = read.SHA256
	return f, err
}

func (g *gitHub) send(ctx context.Context, name string, content upload) error {
	options := &github.UploadOptions{Name: name, MediaType: "application/octet-stream"}
	_, _, err := g.client.Repositories.UploadReleaseAssetFromRelease(ctx, g.release, options, content, content.size)
	if refused, ok := errors.AsType[*github.ErrorResponse](err); ok {
		for _, e := range refused.Errors {
			if e.Code == "already_exists" {
				return passing{err} // something has arrived since it was looked for
			}
		}
	}
	return err
}

func (g *gitHub) remove(ctx context.Context, f remoteFile) error {
	_, err := g.client.Repositories.DeleteReleaseAsset(ctx, g.owner, g.repo, f.id)
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// list asks the API: what the address for everybody gives may be minutes old.
func (g *gitHub) list(ctx context.Context, c Channel) ([]byte, string, error) {
	file, _, _, err := g.client.Repositories.GetContents(ctx, g.owner, g.repo, c.File(), nil)
	if isStatus(err, http.StatusNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	if file == nil {
		return nil, "", fmt.Errorf("%s is a directory", c.File())
	}
	content, err := file.GetContent()
	return []byte(content), file.GetSHA(), err
}

func (g *gitHub) writeList(ctx context.Context, c Channel, content []byte, revision string) error {
	o := &github.RepositoryContentFileOptions{Message: new(fmt.Sprintf("Offer %s in %s", g.r.tag(), c.File())), Content: content}
	if revision != "" {
		o.SHA = &revision
	}
	_, _, err := g.client.Repositories.UpdateFile(ctx, g.owner, g.repo, c.File(), o)
	switch {
	case isStatus(err, http.StatusConflict) && strings.Contains(err.Error(), "does not match"):
		return passing{err} // somebody else has written it since it was read
	case isStatus(err, http.StatusForbidden, http.StatusConflict, http.StatusUnprocessableEntity) && !isRateLimit(err):
		return fmt.Errorf("%w\nthe default branch has to let whoever %s is of push to it", err, tokenGitHub)
	}
	return err
}

func (g *gitHub) listURL(c Channel) string {
	return g.place.Server + "/" + g.place.Path + "/raw/HEAD/" + c.File()
}
