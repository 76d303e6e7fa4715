package publish

import (
	"fmt"
	"regexp"
	"strings"
)

// The servers that are known.
const (
	GitHub = "github"
	GitLab = "gitlab"
)

// Place is where releases are published: a repository of GitHub or a project of
// GitLab.
type Place struct {
	Kind   string // GitHub or GitLab
	Server string // https://github.com
	Path   string // OWNER/REPOSITORY, or GROUP/PROJECT with any number of groups
}

// The rule of the recipe's variable publish_to says the same.
var placeForm = regexp.MustCompile(`^(github|gitlab):(https://[^/\s@]+/)?([A-Za-z0-9._-]+(?:/[A-Za-z0-9._-]+)+)$`)

// ParsePlace reads an element of the recipe's variable publish_to.
func ParsePlace(text string) (Place, error) {
	m := placeForm.FindStringSubmatch(text)
	if m == nil || m[1] == GitHub && strings.Count(m[3], "/") != 1 {
		return Place{}, fmt.Errorf("%q is no place to publish to: want github:OWNER/REPOSITORY or gitlab:GROUP/PROJECT, on another server github:https://SERVER/OWNER/REPOSITORY and the like", text)
	}
	p := Place{Kind: m[1], Server: strings.TrimSuffix(m[2], "/"), Path: m[3]}
	if p.Server == "" {
		p.Server = p.usualServer()
	}
	return p, nil
}

func (p Place) usualServer() string { return "https://" + p.Kind + ".com" }

// String returns the place as ParsePlace reads it.
func (p Place) String() string {
	if p.Server == p.usualServer() {
		return p.Kind + ":" + p.Path
	}
	return p.Kind + ":" + p.Server + "/" + p.Path
}

// Downloads is the address of the directory that a release's files are
// downloaded from. {version} in it stands for the version.
func (p Place) Downloads() string {
	if p.Kind == GitLab {
		return p.Server + "/" + p.Path + "/-/releases/v{version}/downloads"
	}
	return p.Server + "/" + p.Path + "/releases/download/v{version}"
}

// download is the address of a file of a release.
func (p Place) download(version, name string) string {
	return strings.ReplaceAll(p.Downloads(), "{version}", version) + "/" + name
}
