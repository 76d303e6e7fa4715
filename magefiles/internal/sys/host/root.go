package host

import (
	"errors"
	"os"
	"slices"
	"strings"
)

// ErrNotRoot is the error of RequireRoot.
var ErrNotRoot = errors.New("this needs root")

// RequireRoot returns nil for root, and otherwise an error that says how to go
// on.
func RequireRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	_, err := lookPath("sudo")
	return &rootError{hint: rootHint(err == nil)}
}

type rootError struct{ hint string }

func (e *rootError) Error() string { return ErrNotRoot.Error() + ": " + e.hint }
func (e *rootError) Unwrap() error { return ErrNotRoot }

// HOME is root's own, so that neither Go's caches nor the images' get files of
// root in the user's; -E keeps proxy settings; Debian's ordinary users have no
// sbin in PATH.
func rootHint(sudo bool) string {
	if sudo {
		return "run `sudo -E env HOME=/root \"PATH=$PATH:/usr/sbin:/sbin\" go tool mage …`"
	}
	return "there is no sudo either: become root (`su -`), make sure that `go` is in its PATH, and run `go tool mage …` again"
}

// PathWithSbin returns the value of PATH with the directories of root's
// programs added where they are not in it.
func PathWithSbin(path string) string {
	have := strings.Split(path, ":")
	for _, dir := range sbin() {
		if !slices.Contains(have, dir) {
			path = strings.TrimPrefix(path+":"+dir, ":")
		}
	}
	return path
}
