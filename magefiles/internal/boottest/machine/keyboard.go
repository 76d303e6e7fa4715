package machine

import (
	"errors"
	"fmt"
	"os"
)

// keyboard is a pipe that outlives the QEMU processes that read it one after the
// other.
type keyboard struct{ keys, press *os.File }

func newKeyboard() (keyboard, error) {
	keys, press, err := os.Pipe()
	return keyboard{keys, press}, err
}

func (k keyboard) close() error { return errors.Join(k.press.Close(), k.keys.Close()) }

// Type presses keys at the serial console.
func (m *Machine) Type(keys string) error {
	if _, err := m.keyboard.press.WriteString(keys); err != nil {
		return fmt.Errorf("typing at the serial console: %w", err)
	}
	return nil
}
