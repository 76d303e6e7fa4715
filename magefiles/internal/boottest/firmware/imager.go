package firmware

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// CheckImager reports what does not go together between the init_format that
// Raspberry Pi Imager is told and the system that has to read what it then writes.
// Programs are the names in /usr/bin.
func CheckImager(format string, boot fs.FS, programs []string) error {
	const cloudInit, preseed = "cloud-init", "rpi-preseed"
	reader := map[string]string{"cloudinit": cloudInit, "cloudinit-rpi": cloudInit, "rpi-preseed": preseed}[format]
	var problems []error
	for _, program := range []string{cloudInit, preseed} {
		if installed := slices.Contains(programs, program); installed != (program == reader) {
			problems = append(problems, fmt.Errorf("the system has %s: %t; Imager is told init_format %q", program, installed, format))
		}
	}
	if reader != cloudInit {
		return errors.Join(problems...)
	}
	// Imager does not make a file that is not there in every version.
	for _, name := range []string{"meta-data", "user-data", "network-config"} {
		b, err := fs.ReadFile(boot, name)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("the boot partition has no %s for Imager to replace: %w", name, err))
		case name == "user-data" && !strings.HasPrefix(string(b), "#cloud-config"):
			problems = append(problems, errors.New("user-data on the boot partition does not begin with #cloud-config"))
		}
	}
	return errors.Join(problems...)
}
