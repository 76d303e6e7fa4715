package containerimage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// isLocal reports whether err comes from this machine's file system.
func isLocal(err error) bool {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) {
		return true
	}
	perr := new(fs.PathError)
	return errors.As(err, &perr)
}

// explain says which image err is about and, where the cause is known, what to
// do about it.
func explain(e Entry, from name.Tag, err error) error {
	what := fmt.Sprintf("pulling %s (%s)", e.Name, e.Reference)
	host := from.RegistryStr()
	if host != e.tag.RegistryStr() {
		what = fmt.Sprintf("pulling %s (%s, from mirror %s)", e.Name, e.Reference, host)
	}
	return fmt.Errorf("%s: %w%s", what, err, hint(host, err))
}

func hint(host string, err error) string {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	if terr := new(transport.Error); errors.As(err, &terr) {
		switch terr.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Sprintf("\n%s does not let us have it: check the name in images.txt, and if the image is private log in with `docker login %s`", host, host)
		case http.StatusNotFound:
			return fmt.Sprintf("\n%s has no such image: correct the reference in images.txt, or if only the digest is gone, %s", host, updateHint)
		case http.StatusTooManyRequests:
			return fmt.Sprintf("\n%s limits how much may be pulled: wait, or log in with `docker login %s`", host, host)
		}
		return ""
	}
	if m := new(mismatchError); errors.As(err, &m) {
		return fmt.Sprintf("\n%s or a proxy before it serves damaged content: try again, or pull through another network or mirror", host)
	}
	var netErr net.Error
	if !isLocal(err) && errors.As(err, &netErr) {
		return fmt.Sprintf("\n%s can not be reached: check the network and proxy settings, or pull through a mirror", host)
	}
	return ""
}
