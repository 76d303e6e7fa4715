package proof

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/remote"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/scenario"
	"github.com/cubeos-app/releases/magefiles/internal/pipeline"
)

// DeviceOptions say which real device is asked, and what.
type DeviceOptions struct {
	Device    remote.Place
	Key       string // file of the key to log in with; "" is as ssh does
	Scenarios string // names and sets, separated by commas; "" is all that are harmless
}

// OnDevice proves on a real device that what a build's recipe makes works there. The
// build has only been read: nothing is made.
func OnDevice(ctx context.Context, b *pipeline.Build, o DeviceOptions) (err error) {
	settings, err := settingsOf(b.Recipe)
	if err != nil {
		return err
	}
	chosen, err := scenario.Named(cmp.Or(o.Scenarios, scenario.Every), b.Services)
	if err != nil {
		return err
	}
	device, release, err := connect(o, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	names := strings.Split(o.Scenarios, ",")
	report, err := boottest.OnDevice(ctx, boottest.DeviceOptions{
		Target:    device,
		Where:     o.Device.String(),
		Version:   b.Version,
		Profile:   b.Profile,
		Settings:  settings,
		Services:  b.Services,
		WorkDir:   filepath.Join(b.Dir, "hardware"),
		Scenarios: chosen,
		Named:     func(scenario string) bool { return slices.Contains(names, scenario) },
		Reporter:  b.Log,
	})
	if report != nil {
		fmt.Fprintln(os.Stdout, report.Table())
	}
	return err
}

// connect makes ready to log in to a device in the way that ssh would.
func connect(o DeviceOptions, b *pipeline.Build) (_ *remote.Device, release func() error, err error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(home, ".ssh")
	known, err := remote.ReadKnownHosts(filepath.Join(dir, "known_hosts"), "/etc/ssh/ssh_known_hosts")
	if err != nil {
		return nil, nil, err
	}
	keys, release, err := remote.Keys(o.Key, dir)
	if err != nil {
		return nil, nil, err
	}
	known.OnFirst = func(key ssh.PublicKey) {
		b.Log.Printf("%s is in no list of known hosts: its host key %s is taken for its own", o.Device, ssh.FingerprintSHA256(key))
	}
	return remote.New(remote.Config{User: o.Device.User, Auth: []ssh.AuthMethod{keys}, Known: known, Addr: o.Device.Addr}), release, nil
}
