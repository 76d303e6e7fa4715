package containerimage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
)

const updateHint = "`go tool mage download -update` with this profile resolves the tags again"

// request is what is asked for: the images to save, and what the two files say.
type request struct {
	entries []Entry  // to save
	listed  []Entry  // in images.txt, those of services that are not asked for among them
	locked  []Locked // in images.lock
}

func (o Options) read() (request, error) {
	if err := o.check(); err != nil {
		return request{}, err
	}
	listed, err := ReadList(o.ListFile)
	r := request{listed: listed}
	problems := []error{err}
	for _, e := range listed {
		if o.Services == nil || slices.Contains(o.Services, e.Name) {
			r.entries = append(r.entries, e)
		}
	}
	for _, name := range o.Services {
		if !slices.ContainsFunc(listed, func(e Entry) bool { return e.Name == name }) {
			problems = append(problems, fmt.Errorf("%s has no image of the service %s", o.ListFile, name))
		}
	}
	if o.LockFile != "" {
		r.locked, err = ReadLock(o.LockFile)
		if o.Update && len(r.entries) == len(listed) {
			// What is about to be written whole in full need not be readable.
			err = nil
		}
		problems = append(problems, err)
	}
	return r, errors.Join(problems...)
}

// pins returns what each entry is locked to, "" where it has to be resolved.
// Lines of services that are not asked for are those of other profiles.
func (r request) pins(o Options) ([]string, error) {
	digests := make([]string, len(r.entries))
	if o.Update {
		return digests, nil
	}
	var problems []error
	for i, e := range r.entries {
		at := slices.IndexFunc(r.locked, func(l Locked) bool { return l.Name == e.Name })
		switch {
		case at < 0 && o.Locked:
			problems = append(problems, fmt.Errorf("%s (%s) has no digest in %s: %s; commit the file", e.Name, e.Reference, o.LockFile, updateHint))
		case at < 0:
		case r.locked[at].Reference != e.Reference:
			problems = append(problems, fmt.Errorf("%s:%d: %s is locked as %s, but %s asks for %s: %s",
				o.LockFile, r.locked[at].line, e.Name, r.locked[at].Reference, o.ListFile, e.Reference, updateHint))
		default:
			digests[i] = r.locked[at].Digest
		}
	}
	for _, l := range r.locked {
		if !slices.ContainsFunc(r.listed, func(e Entry) bool { return e.Name == l.Name }) {
			problems = append(problems, fmt.Errorf("%s:%d: %s is locked, but %s does not list it: %s", o.LockFile, l.line, l.Name, o.ListFile, updateHint))
		}
	}
	return digests, errors.Join(problems...)
}

// lock returns the lines that images.lock should have, in the order of
// images.txt: those that were resolved, and of the other services those it has.
func (r request) lock(resolved []Locked) []Locked {
	var lock []Locked
	for _, e := range r.listed {
		from := resolved
		if !slices.ContainsFunc(r.entries, func(asked Entry) bool { return asked.Name == e.Name }) {
			from = r.locked
		}
		if at := slices.IndexFunc(from, func(l Locked) bool { return l.Name == e.Name }); at >= 0 {
			lock = append(lock, from[at])
		}
	}
	return lock
}

// InputsDigest returns a digest of everything on this machine that decides
// what Download saves: the list, the lock and where images are pulled from. It
// also checks the options, the list and the lock, without a look at any
// registry.
func InputsDigest(o Options) (string, error) {
	r, err := o.read()
	if err != nil {
		return "", err
	}
	digests, err := r.pins(o)
	if err != nil {
		return "", err
	}
	source := o.MirrorID
	if source == "" {
		source = o.Mirror
	}
	h := sha256.New()
	fmt.Fprintf(h, "container images %d\nmirror %q\nfor %s\n", archiveFormat, source, versionOf(o.Devices))
	for i, e := range r.entries {
		fmt.Fprintf(h, "%q %q %q\n", e.Name, e.Reference, digests[i])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sha256Of(r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), n, err
}
