package containerimage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
)

const updateHint = "`go tool mage download -update` resolves the tags anew"

// pins returns what each entry is locked to, "" where it has to be resolved.
func pins(entries []Entry, locked []Locked, o Options) ([]string, error) {
	digests := make([]string, len(entries))
	if o.Update {
		return digests, nil
	}
	var problems []error
	for i, e := range entries {
		at := slices.IndexFunc(locked, func(l Locked) bool { return l.Name == e.Name })
		switch {
		case at < 0 && o.Locked:
			problems = append(problems, fmt.Errorf("%s (%s) has no digest in %s: %s; commit the file", e.Name, e.Reference, o.LockFile, updateHint))
		case at < 0:
		case locked[at].Reference != e.Reference:
			problems = append(problems, fmt.Errorf("%s:%d: %s is locked as %s, but %s asks for %s: %s",
				o.LockFile, locked[at].line, e.Name, locked[at].Reference, o.ListFile, e.Reference, updateHint))
		default:
			digests[i] = locked[at].Digest
		}
	}
	for _, l := range locked {
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Name == l.Name }) {
			problems = append(problems, fmt.Errorf("%s:%d: %s is locked, but %s does not list it: %s", o.LockFile, l.line, l.Name, o.ListFile, updateHint))
		}
	}
	return digests, errors.Join(problems...)
}

func (o Options) read() (entries []Entry, locked []Locked, err error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	entries, err = ReadList(o.ListFile)
	if o.LockFile != "" {
		var lockErr error
		locked, lockErr = ReadLock(o.LockFile)
		if o.Update {
			// What is about to be written anew need not be readable.
			locked, lockErr = nil, nil
		}
		err = errors.Join(err, lockErr)
	}
	return entries, locked, err
}

// InputsDigest returns a digest of everything on this machine that decides
// what Download saves: the list, the lock and where images are pulled from. It
// also checks the options, the list and the lock, without a look at any
// registry.
func InputsDigest(o Options) (string, error) {
	entries, locked, err := o.read()
	if err != nil {
		return "", err
	}
	digests, err := pins(entries, locked, o)
	if err != nil {
		return "", err
	}
	source := o.MirrorID
	if source == "" {
		source = o.Mirror
	}
	h := sha256.New()
	fmt.Fprintf(h, "container images %d\nmirror %q\n", archiveFormat, source)
	for i, e := range entries {
		fmt.Fprintf(h, "%q %q %q\n", e.Name, e.Reference, digests[i])
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func sha256Of(r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), n, err
}
