package containerimage

import (
	"context"
	"encoding/json"
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

// explain says which image err is about, where the list asks for it and, where the
// cause is known, what to do about it.
func (s *store) explain(list string, e Entry, from name.Tag, err error) error {
	what := fmt.Sprintf("pulling %s (%s, %s:%d)", e.Name, e.Reference, list, e.line)
	host := from.RegistryStr()
	if host != e.tag.RegistryStr() {
		what = fmt.Sprintf("pulling %s (%s, %s:%d, from mirror %s)", e.Name, e.Reference, list, e.line, host)
	}
	return fmt.Errorf("%s: %w%s", what, err, hint(host, err, s.source.keychain.problem(host)))
}

// shown is a registry's name as people know it.
func shown(host string) string {
	if host == name.DefaultRegistry {
		return "docker.io"
	}
	return host
}

// logIn says how to give credentials.
func logIn(host string) string {
	token := ""
	if host == "ghcr.io" {
		token = " (the password is a token with read:packages)"
	}
	return fmt.Sprintf("log in with `docker login %s`%s, or in CI set the variable %s to what ~/.docker/config.json then has", host, token, AuthVariable)
}

// hint is what to do about err. noCredentials is why there are none for the
// registry, if that is so.
func hint(host string, err, noCredentials error) string {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ""
	}
	host = shown(host)
	if isForeign(err) {
		return fmt.Sprintf("\nThat is no registry's answer: a page to log in to this network or a proxy may stand before %s, or it is another server. Open any web page in a browser, or correct the registry's name in images.txt", host)
	}
	if terr := new(transport.Error); errors.As(err, &terr) {
		switch terr.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			if noCredentials != nil {
				return fmt.Sprintf("\n%s does not let us have it without credentials, and Docker's can not be read (%v): correct the reference if it is wrong, or if the image is private, %s, or correct credsStore and credHelpers in Docker's config.json", host, noCredentials, logIn(host))
			}
			return fmt.Sprintf("\n%s does not let us have it: correct the reference if it is wrong, or if the image is private, %s", host, logIn(host))
		case http.StatusNotFound:
			return fmt.Sprintf("\n%s has no such image, or shows it to nobody who is not logged in: correct the reference if it is wrong; if the image is private, %s; if only the digest is gone, %s", host, logIn(host), updateHint)
		case http.StatusTooManyRequests:
			return fmt.Sprintf("\n%s limits how much may be pulled: wait, or %s", host, logIn(host))
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

// isForeign reports whether something else than a registry, or than the server
// that gives out its tokens, has answered.
func isForeign(err error) bool {
	no, syntax := new(noRegistryError), new(json.SyntaxError)
	terr := new(transport.Error)
	return errors.As(err, &no) || errors.As(err, &syntax) ||
		errors.As(err, &terr) && terr.StatusCode == http.StatusNetworkAuthenticationRequired
}
