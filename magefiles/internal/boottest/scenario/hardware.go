package scenario

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// asHardware puts an emulated device through what a real one is put through, in the
// way that it would be: with nothing but an address and a key.
func asHardware(l services.List, harmless []boottest.Scenario) boottest.Scenario {
	return boottest.Scenario{
		Name: "as-hardware", About: "a device that is reached over SSH alone, as a real one is, passes what a real one has to",
		From:   boottest.Running,
		Phases: []boottest.Phase{{Name: "from outside", Checks: []boottest.Check{passesAsHardware(l, harmless)}}},
	}
}

func passesAsHardware(l services.List, harmless []boottest.Scenario) boottest.Check {
	return boottest.Check{
		Name: "proof", Asserts: "the boot proof on hardware passes", Bound: time.Hour, Once: true, Needs: boottest.NeedEmulated,
		Ask: func(ctx context.Context, s *boottest.Subject) (_ string, err error) {
			signer, undo, err := authorise(ctx, s, s.Settings.User)
			if err != nil {
				return "", err
			}
			defer func() { err = errors.Join(err, undo()) }()
			device := remote.New(remote.Config{
				User: s.Settings.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, Addr: s.Addr, Behind: machine.GuestAddress,
			})
			defer device.Disconnect()
			report, err := boottest.OnDevice(ctx, boottest.DeviceOptions{
				Target: expected{device, s.Emulator}, Where: "an emulated device",
				Settings: s.Settings, Services: l, Scenarios: harmless,
				WorkDir: filepath.Join(s.Dir, "hardware"),
			})
			if err != nil {
				return "", err
			}
			return report.Counts(), nil
		},
	}
}

// expected is a device whose emulator is told before it restarts, since a restart that
// nobody expects is a fault.
type expected struct {
	*remote.Device
	emulator *machine.Machine
}

func (e expected) Restart(ctx context.Context, how func(context.Context) error) error {
	return e.emulator.Restart(ctx, func(ctx context.Context) error { return e.Device.Restart(ctx, how) })
}

func (e expected) Reboot(ctx context.Context) error {
	return e.emulator.Restart(ctx, e.Device.Reboot)
}
