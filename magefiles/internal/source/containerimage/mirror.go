package containerimage

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// checkTransport refuses a registry that would be spoken to without TLS over a
// network: go-containerregistry falls back to http for private addresses.
func checkTransport(r name.Registry) error {
	if r.Scheme() == "https" || isLoopback(r.RegistryStr()) {
		return nil
	}
	return fmt.Errorf("registry %s would be spoken to without encryption: give a host name that serves https, or a loopback address", r.RegistryStr())
}

func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

func checkMirror(mirror string) error {
	if mirror == "" {
		return nil
	}
	if strings.ContainsAny(mirror, "/@") {
		return fmt.Errorf("mirror %q has to be HOST or HOST:PORT", mirror)
	}
	r, err := name.NewRegistry(mirror, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("mirror %q has to be HOST or HOST:PORT: %w", mirror, err)
	}
	return checkTransport(r)
}

// MirrorPath returns the repository that stands for reference's on a mirror:
// MIRROR/REGISTRY/PATH, since two registries may have the same paths.
func MirrorPath(mirror string, reference string) (name.Tag, error) {
	tag, err := parseReference(reference)
	if err != nil {
		return tag, err
	}
	registry := tag.RegistryStr()
	if registry == name.DefaultRegistry {
		registry = "docker.io"
	}
	repo := strings.ReplaceAll(registry, ":", "-") + "/" + tag.RepositoryStr()
	mirrored, err := name.NewTag(mirror+"/"+repo+":"+tag.TagStr(), name.StrictValidation)
	if err != nil {
		return mirrored, fmt.Errorf("naming %s on mirror %s: %w", reference, mirror, err)
	}
	return mirrored, nil
}

// pullFrom returns where e is pulled from: its own registry or the mirror.
func (o Options) pullFrom(e Entry) (name.Tag, error) {
	if o.Mirror == "" {
		return e.tag, nil
	}
	return MirrorPath(o.Mirror, e.Reference)
}

func (o Options) check() error {
	var problems []error
	for _, need := range []struct{ what, value string }{
		{"the list of images", o.ListFile}, {"the directory for archives", o.Dir}, {"the cache directory", o.CacheDir},
	} {
		if need.value == "" {
			problems = append(problems, fmt.Errorf("%s is not set", need.what))
		}
	}
	if o.Locked && o.Update {
		problems = append(problems, errors.New("locked images can not be updated: give one of the two"))
	}
	if o.Locked && o.LockFile == "" {
		problems = append(problems, errors.New("locked images need a lock file"))
	}
	return errors.Join(append(problems, checkMirror(o.Mirror))...)
}
