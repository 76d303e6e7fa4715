// Package containerimage resolves image references to linux/arm64 manifests and
// saves them as archives that `docker load` reads.
package containerimage

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/renameio/v2"
)

// Entry is one image that an image ships.
type Entry struct {
	Name      string // of the service: pihole
	Reference string // as written, with its tag: docker.io/pihole/pihole:2025.11.1

	tag  name.Tag
	line int // of the file that it was read from
}

// Locked is an Entry with the digest of its linux/arm64 manifest.
type Locked struct {
	Entry
	Digest string // sha256:…
}

func (l Locked) String() string {
	return l.Name + " " + l.Reference + "@" + l.Digest
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// NewEntry checks a service name and an image reference.
func NewEntry(service, reference string) (Entry, error) {
	e := Entry{Name: service, Reference: reference}
	var problems []error
	if !validName.MatchString(service) {
		problems = append(problems, fmt.Errorf("name %q has to be of a-z, 0-9 and -", service))
	}
	tag, err := parseReference(reference)
	e.tag = tag
	return e, errors.Join(append(problems, err)...)
}

// A reference as the registry's own interface takes it: HOST or HOST:PORT, the
// words of a path, a tag (github.com/distribution/reference, regexp.go).
var validReference = regexp.MustCompile(`^([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(:[0-9]+)?` +
	`(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+:[\w][\w.-]{0,127}$`)

func parseReference(reference string) (name.Tag, error) {
	if strings.Contains(reference, "@") {
		return name.Tag{}, fmt.Errorf("%s: digests are kept in images.lock, give a tag only", reference)
	}
	tag, err := name.NewTag(reference, name.StrictValidation)
	if err == nil && !validReference.MatchString(reference) {
		err = errors.New("it has more than a host, the words of a path and a tag")
	}
	switch {
	case err != nil:
		return tag, fmt.Errorf("%q is no full image reference (REGISTRY/PATH:TAG): %w%s", reference, err, meant(reference))
	case tag.TagStr() == name.DefaultTag:
		return tag, fmt.Errorf("%s: the tag latest is another image every day, give a version", reference)
	}
	return tag, checkTransport(tag.Registry)
}

// transports begin a reference for programs that read images from more than
// registries, and an address for a browser.
var transports = regexp.MustCompile(`^([a-z-]+:)?/+`)

// meant names the reference that one with a transport, or with a slash too many,
// must have meant.
func meant(reference string) string {
	var words []string
	for word := range strings.SplitSeq(transports.ReplaceAllString(reference, ""), "/") {
		if word != "" && word != "." {
			words = append(words, word)
		}
	}
	right := strings.ReplaceAll(strings.Join(words, "/"), "/:", ":")
	if right == reference || !validReference.MatchString(right) {
		return ""
	}
	return ". Write " + right
}

// ReadList reads images.txt: a line `NAME REFERENCE` an image, # comments.
// The error holds every problem found, each with its line.
func ReadList(path string) ([]Entry, error) {
	var entries []Entry
	lines := &lineReader{path: path}
	err := lines.each(func(service, reference string) error {
		e, err := NewEntry(service, reference)
		e.line = lines.line
		if err == nil {
			err = notTwice(entries, e)
		}
		entries = append(entries, e)
		return err
	})
	if err == nil && len(entries) == 0 {
		err = fmt.Errorf("%s: it names no image", path)
	}
	return entries, err
}

// CheckNames makes sure that images.txt names the services that there are, no
// more and no fewer; from says where those come from. The error holds every
// problem of the file.
func CheckNames(path string, services []string, from string) error {
	entries, err := ReadList(path)
	problems := []error{err}
	for _, e := range entries {
		if !slices.Contains(services, e.Name) {
			problems = append(problems, fmt.Errorf("%s:%d: %s is no service: %s does not list it", path, e.line, e.Name, from))
		}
	}
	for _, name := range services {
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == name }) {
			problems = append(problems, fmt.Errorf("%s: it has no line `%s REFERENCE`, but %s lists that service", path, name, from))
		}
	}
	return errors.Join(problems...)
}

func notTwice(entries []Entry, e Entry) error {
	var problems []error
	for _, other := range entries {
		if other.Name == e.Name {
			problems = append(problems, fmt.Errorf("name %s is given twice", e.Name))
		} else if envName(other.Name) == envName(e.Name) {
			problems = append(problems, fmt.Errorf("names %s and %s are the same variable %s", other.Name, e.Name, envName(e.Name)))
		}
		if other.tag.Name() == e.tag.Name() && e.tag.TagStr() != "" {
			problems = append(problems, fmt.Errorf("%s is listed twice, as %s and %s", e.Reference, other.Name, e.Name))
		}
	}
	return errors.Join(problems...)
}

// ReadLock reads images.lock: lines `NAME REFERENCE@DIGEST`. A missing file is
// an empty lock.
func ReadLock(path string) ([]Locked, error) {
	var locked []Locked
	lines := &lineReader{path: path}
	err := lines.each(func(service, pinned string) error {
		reference, digest, ok := strings.Cut(pinned, "@")
		if !ok {
			return fmt.Errorf("%s has no digest", pinned)
		}
		var problems []error
		if h, err := v1.NewHash(digest); err != nil || h.Algorithm != "sha256" {
			problems = append(problems, fmt.Errorf("%q is no sha256 digest", digest))
		}
		e, err := NewEntry(service, reference)
		e.line = lines.line
		problems = append(problems, err)
		if slices.ContainsFunc(locked, func(l Locked) bool { return l.Name == service }) {
			problems = append(problems, fmt.Errorf("name %s is given twice", service))
		}
		locked = append(locked, Locked{Entry: e, Digest: digest})
		return errors.Join(problems...)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return locked, err
}

const lockHeader = `# Written by the build; do not edit. The linux/arm64 manifests that the tags in
# images.txt stood for when they were resolved: these are what is built in.
`

// WriteLock writes images.lock, in one move.
func WriteLock(path string, locked []Locked) error {
	var b strings.Builder
	b.WriteString(lockHeader)
	for _, l := range locked {
		fmt.Fprintln(&b, l)
	}
	if err := renameio.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

type lineReader struct {
	path string
	line int
}

func (r *lineReader) each(line func(service, rest string) error) error {
	data, err := os.ReadFile(r.path)
	if err != nil {
		return fmt.Errorf("reading the list of images: %w", err)
	}
	var problems []error
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		r.line++
		text, _, _ := strings.Cut(s.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			problems = append(problems, fmt.Errorf("%s:%d: want `NAME REFERENCE`, got %q", r.path, r.line, strings.TrimSpace(text)))
			continue
		}
		for _, err := range flatten(line(fields[0], fields[1])) {
			problems = append(problems, fmt.Errorf("%s:%d: %w", r.path, r.line, err))
		}
	}
	return errors.Join(problems...)
}

// flatten returns the errors that errors.Join joined, so that each can be
// given its place.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

func envName(service string) string {
	return strings.ToUpper(strings.ReplaceAll(service, "-", "_")) + "_IMAGE"
}

// Env returns what images.env holds: NAME_IMAGE=REFERENCE for each image.
func Env(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s=%s\n", envName(e.Name), e.Reference)
	}
	return b.String()
}
