package artifact

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/cubeos-app/releases/magefiles/internal/sys/git"
)

var versionForm = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?(\+[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$`)

// CheckVersion refuses what can not be a version, as the recipe does: it becomes
// part of file names, of URLs, and of the image itself.
func CheckVersion(version string) error {
	if len(version) > 64 || !versionForm.MatchString(version) {
		return fmt.Errorf("version %q: want MAJOR.MINOR.PATCH such as 1.2.3, 1.2.3-rc.1 or 1.2.3+pi5, of at most 64 characters and without a leading v", version)
	}
	return nil
}

// VersionFromGit returns the version that the checkout in dir stands for: the
// highest among those of its commit's tags, or one that is marked as a
// development build after the nearest commit that has one.
func VersionFromGit(ctx context.Context, dir string) (string, error) {
	version, err := gitVersion(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("finding out the version of %s: %w\n`-version=1.2.3` sets it by hand", dir, err)
	}
	return version, nil
}

func gitVersion(ctx context.Context, dir string) (string, error) {
	if ok, err := git.IsCheckout(dir); err != nil || !ok {
		return "", cmp.Or(err, errors.New("it is no git checkout of its own"))
	}
	if _, err := git.Head(ctx, dir); err != nil {
		return "", err
	}
	all, err := versionTags(ctx, dir)
	if err != nil {
		return "", err
	}
	argv := []string{"describe", "--tags", "--long", "--always", "--dirty", "--abbrev=12"}
	for _, tag := range all {
		argv = append(argv, "--match", tag)
	}
	if len(all) == 0 {
		argv = append(argv, "--exclude", "*")
	}
	described, err := git.Output(ctx, dir, argv...)
	if err != nil {
		return "", err
	}
	d, err := parseDescribed(described)
	if err != nil || d.tag == "" {
		return d.version(), err
	}
	// Of several tags of that commit git has named the newest annotated one.
	same, err := versionTags(ctx, dir, "--points-at", "refs/tags/"+d.tag+"^{commit}")
	if err != nil {
		return "", err
	}
	d.tag = slices.MaxFunc(same, compareTags)
	return d.version(), CheckVersion(d.version())
}

// versionTags lists the tags that are a version with a leading v. Others, such as
// v1 and v1.2 that move with every release, are somebody's own.
func versionTags(ctx context.Context, dir string, which ...string) ([]string, error) {
	out, err := git.Output(ctx, dir, append([]string{"tag", "--list", "v*"}, which...)...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Fields(out), func(tag string) bool { return CheckVersion(tag[1:]) != nil }), nil
}

// compareTags compares as Semantic Versioning does. It knows no order of what is
// behind a plus: the tag without it counts as the higher one.
func compareTags(a, b string) int {
	return cmp.Or(semver.Compare(a, b), cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
}

// description is what git describe --long --always --dirty says.
type description struct {
	tag      string // of the nearest commit that has one; may be empty
	distance int    // in commits, from there
	commit   string // abbreviated
	dirty    bool
}

var (
	describedTag = regexp.MustCompile(`^(v.+)-(\d+)-g([0-9a-f]+)$`)
	describedSHA = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
)

func parseDescribed(s string) (description, error) {
	var d description
	clean, dirty := strings.CutSuffix(s, "-dirty")
	d.dirty = dirty
	if m := describedTag.FindStringSubmatch(clean); m != nil {
		var err error
		d.tag, d.commit = m[1], m[3]
		d.distance, err = strconv.Atoi(m[2])
		return d, err
	}
	if !describedSHA.MatchString(clean) {
		return d, fmt.Errorf("git describes it as %q", s)
	}
	d.commit = clean
	return d, nil
}

// version is that of the tag, or of a development build. A commit after v1.2.3 is
// on the way to 1.2.4, so it is a pre-release of that.
func (d description) version() string {
	mark := "+g" + d.commit
	if d.dirty {
		mark += ".dirty"
	}
	if d.tag == "" {
		return "0.0.0-dev" + mark
	}
	if d.distance == 0 && !d.dirty {
		return d.tag[1:]
	}
	tag := strings.TrimSuffix(d.tag[1:], semver.Build(d.tag))
	dev := fmt.Sprintf("dev.%d%s", d.distance, mark)
	if semver.Prerelease(d.tag) != "" {
		return tag + "." + dev
	}
	dot := strings.LastIndex(tag, ".") + 1
	patch, ok := new(big.Int).SetString(tag[dot:], 10)
	if !ok {
		return tag // which CheckVersion refuses
	}
	return tag[:dot] + patch.Add(patch, big.NewInt(1)).String() + "-" + dev
}
