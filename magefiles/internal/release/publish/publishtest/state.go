package publishtest

// Release is what a server has of a release.
type Release struct {
	Tag, Notes        string
	Draft, PreRelease bool
	Files             map[string]string // the SHA-256 by the name, "" of half a file
	Times             int               // how many files there are, of whatever names
}

func (r *Release) add(blobs []*blob) {
	r.Files = map[string]string{}
	for _, b := range blobs {
		r.Files[b.name] = b.sha256
	}
	r.Times = len(blobs)
}

// Releases are all that the repository has.
func (g *GitHub) Releases() []Release {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []Release
	for _, rel := range g.releases {
		r := Release{Tag: rel.TagName, Notes: rel.Body, Draft: rel.Draft, PreRelease: rel.Prerelease}
		r.add(rel.assets)
		all = append(all, r)
	}
	return all
}

// Releases are all packages of the name; those without a release are drafts.
func (g *GitLab) Releases(name string) []Release {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []Release
	for _, p := range g.packages {
		if p.Name != name {
			continue
		}
		r := Release{Tag: "v" + p.Version, Draft: true}
		for _, rel := range g.releases {
			if rel.TagName == r.Tag {
				r.Draft, r.Notes = false, rel.Description
			}
		}
		r.add(p.files)
		all = append(all, r)
	}
	return all
}
