package stage

import (
	"errors"
	"os"
	"syscall"
)

// ErrLocked is TryLock's error where somebody else has the lock.
var ErrLocked = errors.New("it is locked")

// TryLock is Lock that fails with ErrLocked instead of waiting.
func TryLock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, ErrLocked
	}
	return f.Close, nil
}
