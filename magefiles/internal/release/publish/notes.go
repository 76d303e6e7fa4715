package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/docker/go-units"

	"github.com/cubeos-app/releases/magefiles/internal/release/artifact"
)

// notesLimit is how many bytes the notes of a release may have: GitHub takes
// 125,000 characters.
const notesLimit = 120_000

// writeNotes writes the notes of the release at a place: what differs from the
// release before it there.
func (p *Plan) writeNotes(ctx context.Context, j *job) (string, error) {
	previous := before(p.r.Version, j.versions())
	if previous == "" {
		return notes(p.r.Manifest, artifact.Manifest{}), nil
	}
	name := artifact.NamesFor(p.r.Name, previous).Manifest
	url := j.download(previous, name)
	var content bytes.Buffer
	err := p.try(ctx, "reading what v"+previous+" holds", func(ctx context.Context) error {
		content.Reset()
		return p.get(ctx, url, &content)
	})
	if err != nil && !isStatus(err, http.StatusNotFound) {
		return "", err
	}
	// It may be of an older or a newer program than this. What is published stays as
	// it is, so it is no reason to publish nothing after it.
	var m artifact.Manifest
	if err == nil {
		err = json.Unmarshal(content.Bytes(), &m)
	}
	if err != nil {
		p.o.Log.Printf("the notes compare with nothing, for what v%s holds can not be read: %v", previous, err)
		return notes(p.r.Manifest, artifact.Manifest{}), nil
	}
	return notes(p.r.Manifest, m), nil
}

// notes tells in Markdown how a release differs from the one before, which is
// empty if there is none.
func notes(now, before artifact.Manifest) string {
	var b strings.Builder
	if before.Version == "" {
		fmt.Fprintf(&b, "CubeOS %s, for Raspberry Pi 4 and 5. Made from commit %s.\n", now.Version, now.Commit)
	} else {
		fmt.Fprintf(&b, "CubeOS %s, for Raspberry Pi 4 and 5. Made from commit %s; what has changed since %s:\n", now.Version, now.Commit, before.Version)
	}
	if now.BaseImage.SHA256 != before.BaseImage.SHA256 {
		fmt.Fprintf(&b, "\nBase image: %s\n", now.BaseImage.URL)
	}
	images := differences(containers(before), containers(now))
	if len(images) == 0 {
		b.WriteString("\n## Container images\n\nThe same.\n")
	} else {
		table(&b, "Container images", images)
	}
	packages(&b, before, now)
	sizes(&b, before, now)
	return shorten(b.String())
}

// change is one line of a table. What is empty is not there.
type change struct{ name, before, now string }

func differences(before, now map[string]string) []change {
	names := maps.Clone(before)
	maps.Copy(names, now)
	var all []change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before[name] != now[name] {
			all = append(all, change{name, before[name], now[name]})
		}
	}
	return all
}

// containers are the references of the images by their services' names. An image
// may be another under the same tag, so a part of the digest tells them apart.
func containers(m artifact.Manifest) map[string]string {
	all := map[string]string{}
	for _, c := range m.ContainerImages {
		digest := strings.TrimPrefix(c.Digest, "sha256:")
		all[c.Name] = fmt.Sprintf("%s (%s)", c.Reference, digest[:min(12, len(digest))])
	}
	return all
}

func table(b *strings.Builder, title string, changes []change) {
	fmt.Fprintf(b, "\n## %s\n\n| | before | now |\n|---|---|---|\n", title)
	for _, c := range changes {
		fmt.Fprintf(b, "| %s | %s | %s |\n", c.name, c.before, c.now)
	}
}

func packages(b *strings.Builder, before, now artifact.Manifest) {
	if len(before.DebianPackages) == 0 {
		fmt.Fprintf(b, "\n## Debian packages\n\n%d are installed; the build manifest lists them.\n", len(now.DebianPackages))
		return
	}
	changes := differences(before.DebianPackages, now.DebianPackages)
	if len(changes) == 0 {
		b.WriteString("\n## Debian packages\n\nThe same.\n")
		return
	}
	table(b, "Debian packages", changes)
}

func sizes(b *strings.Builder, before, now artifact.Manifest) {
	size := func(n int64) string {
		if n == 0 {
			return ""
		}
		return units.HumanSize(float64(n))
	}
	table(b, "Sizes", []change{
		{"download", size(before.Compressed.Size), size(now.Compressed.Size)},
		{"on the card, before it grows", size(before.RawImage.Size), size(now.RawImage.Size)},
	})
}

// shorten cuts notes that no server would take at the end of a line.
func shorten(text string) string {
	if len(text) <= notesLimit {
		return text
	}
	text = text[:notesLimit]
	return text[:strings.LastIndex(text, "\n")+1] + "\nThe rest is too long: compare the build manifests.\n"
}
