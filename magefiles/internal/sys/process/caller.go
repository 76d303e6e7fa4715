package process

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// IgnoreCaller makes what this program and its children make and print
// independent of who calls it: of the umask, under which apt's own user could
// not read what is laid over a root file system for it, and files of an image
// would be private; and of the locale, in which tools sort, compare and report.
// It is for the start of a program.
func IgnoreCaller() error {
	unix.Umask(0o022)
	return errors.Join(os.Unsetenv("LANGUAGE"), os.Setenv("LC_ALL", "C.UTF-8"))
}
