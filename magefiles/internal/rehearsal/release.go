package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/release/publish/publishtest"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// Where the release is published, and who may.
const (
	owner, repository = "cubeos-app", "releases"
	token             = "rehearsal-token"
	profile           = "pios"
)

// servePlaces serves GitHub, where the entry in the list points to, and GitLab.
func (r *rehearsal) servePlaces(ctx context.Context) error {
	github, gitlab := filepath.Join(r.dir, "github"), filepath.Join(r.dir, "gitlab")
	for _, dir := range []string{github, gitlab} {
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
			return err
		}
	}
	r.github = publishtest.NewGitHub(github, owner, repository, token)
	r.gitlab = publishtest.NewGitLab(gitlab, owner+"/"+repository, token, "")
	atGitHub, err := r.serve(ctx, r.github)
	if err != nil {
		return err
	}
	atGitLab, err := r.serve(ctx, r.gitlab)
	r.addresses.github = "https://" + atGitHub
	r.addresses.publishTo = []string{r.github.Place(r.addresses.github), r.gitlab.Place("https://" + atGitLab)}
	r.addresses.releases = r.addresses.github + "/" + owner + "/" + repository + "/releases/download/v{version}"
	return err
}

// checkout is where the clone is.
func (r *rehearsal) checkout() string { return filepath.Join(r.dir, "checkout") }

// clone clones what is committed and changes the addresses in the var-file.
func (r *rehearsal) clone(ctx context.Context) error {
	dir := r.checkout()
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	// The checkout may be another user's.
	argv := []string{"git", "-c", "safe.directory=*", "clone", "--quiet", "--no-local", "--no-tags", "file://" + r.Root, dir}
	if err := process.Run(ctx, argv...); err != nil {
		return fmt.Errorf("cloning the checkout: %w", err)
	}
	path := filepath.Join(dir, "packer", profile+".pkrvars.hcl")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	changed, err := r.addresses.into(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(os.WriteFile(path, []byte(changed), 0o644), r.commit(ctx, "Other addresses"))
}

// into gives the attributes of a var-file that are addresses, or digests of what is
// there, other values.
func (a addresses) into(text string) (string, error) {
	var problems []error
	for _, attribute := range []struct{ name, value string }{
		{"base_image_url", fmt.Sprintf("%q", a.baseImage)},
		{"base_image_sha256", fmt.Sprintf("%q", a.baseSHA256)},
		{"release_url_base", fmt.Sprintf("%q", a.releases)},
		{"publish_to", fmt.Sprintf("[%q, %q]", a.publishTo[0], a.publishTo[1])},
	} {
		line := regexp.MustCompile(`(?m)^` + attribute.name + ` *= .*$`)
		if found := line.FindAllString(text, -1); len(found) != 1 {
			problems = append(problems, fmt.Errorf("it has %d lines that set %s, want one", len(found), attribute.name))
		}
		text = line.ReplaceAllLiteralString(text, attribute.name+" = "+attribute.value)
	}
	text += fmt.Sprintf("\ndocker_ce_url             = %q\ndocker_ce_key_fingerprint = %q\n", a.docker, a.dockerFingerprint)
	return text, errors.Join(problems...)
}

func (r *rehearsal) git(ctx context.Context, arguments ...string) error {
	return process.Cmd{
		Argv: slices.Concat([]string{"git", "-c", "user.name=Rehearsal", "-c", "user.email=rehearsal@localhost.invalid"}, arguments),
		Dir:  r.checkout(),
	}.Run(ctx)
}

func (r *rehearsal) commit(ctx context.Context, message string) error {
	return r.git(ctx, "commit", "--quiet", "--all", "--message", message)
}

// mage runs a command of the project's in the clone, as a person would.
func (r *rehearsal) mage(ctx context.Context, arguments ...string) error {
	return process.Cmd{
		Argv: append([]string{"go", "tool", "mage"}, arguments...),
		Dir:  r.checkout(),
		Env: append(os.Environ(),
			"SSL_CERT_FILE="+filepath.Join(r.dir, authorityFile), "SSL_CERT_DIR=/etc/ssl/certs",
			"GITHUB_TOKEN="+token, "GITLAB_TOKEN="+token, "DOCKER_CONFIG="+filepath.Join(r.dir, "no-credentials")),
		Stdout: os.Stdout, Stderr: os.Stderr,
	}.Run(ctx)
}

// download resolves the tags, commits their digests, and tags what is released.
func (r *rehearsal) download(ctx context.Context) error {
	return errors.Join(
		r.mage(ctx, "download", "-update", "-mirror="+r.addresses.mirror, "-cache="+string(r.Cache)),
		r.commit(ctx, "Container images"),
		r.git(ctx, "tag", "--annotate", "--message", "Rehearsal", "v"+version),
	)
}

func (r *rehearsal) release(ctx context.Context) error {
	return r.mage(ctx, "release", "-scenario="+r.Scenarios, "-cache="+string(r.Cache))
}

func (r *rehearsal) publish(ctx context.Context) error {
	head, err := process.Output(ctx, "git", "-C", r.checkout(), "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	tag := "v" + version
	r.github.Commits, r.github.Tags[tag] = []string{head}, head
	r.gitlab.Commits, r.gitlab.Tags[tag] = []string{head}, head
	if err := r.mage(ctx, "publish"); err != nil {
		return err
	}
	for place, found := range map[string][]publishtest.Release{"GitHub": r.github.Releases(), "GitLab": r.gitlab.Releases("cubeos")} {
		if len(found) != 1 || found[0].Tag != tag || found[0].Draft {
			return fmt.Errorf("%s has %+v, want the release %s alone, and no draft", place, found, tag)
		}
	}
	return nil
}

// report prints what the steps took.
func (r *rehearsal) report() {
	var b strings.Builder
	for _, s := range r.steps {
		fmt.Fprintf(&b, "%7.1f s  %s\n", s.took.Seconds(), s.name)
	}
	fmt.Print(b.String())
}
