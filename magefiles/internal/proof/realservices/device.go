package realservices

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

//go:embed device.sh
var deviceScript string

// device is what the services find on a device that starts for the first time.
type device struct {
	dir      string            // its root directory, as far as they see it
	settings map[string]string // of their compose files
}

// makeDevice makes it in dir from the checkout's files, as the provisioners and the
// boot scripts do.
func makeDevice(ctx context.Context, dir string, o Options) (device, error) {
	d := device{dir: dir}
	for _, step := range []func() error{
		func() error { return os.CopyFS(dir, os.DirFS(filepath.Join(o.Root, services.RootFS))) },
		func() error {
			return os.CopyFS(filepath.Join(dir, "usr/local/lib/cubeos"), os.DirFS(filepath.Join(o.Root, "firstboot")))
		},
		func() error { return d.fill(o.Variables) },
		func() error { return d.describe(o) },
		func() error { return d.runScripts(ctx, o) },
	} {
		if err := step(); err != nil {
			return d, fmt.Errorf("making what the services find on a device: %w", err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "settings"))
	if err != nil {
		return d, err
	}
	d.settings = map[string]string{}
	for pair := range strings.SplitSeq(string(raw), "\x00") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			d.settings[name] = value
		}
	}
	return d, nil
}

func (d device) runScripts(ctx context.Context, o Options) error {
	return process.Cmd{
		Argv: []string{
			"unshare", "--mount", "--propagation", "private", "bash", "-c", deviceScript,
			"device.sh", d.dir, o.Images, filepath.Join(o.Root, "packer/scripts"), o.Version,
		},
		Env: append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", o.Epoch.Unix())),
	}.Run(ctx)
}

var placeholder = regexp.MustCompile(`@([A-Z_]+)@`)

// fill puts values into the templates that the services read.
func (d device) fill(variables map[string]string) error {
	defaults := filepath.Join(d.dir, "cubeos/config/defaults.env")
	all := maps.Clone(variables)
	text, err := os.ReadFile(defaults)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !placeholder.MatchString(value) {
			all[name] = value
		}
	}
	var problems []error
	for _, dir := range []string{filepath.Dir(defaults), filepath.Join(d.dir, "usr/local/share/cubeos/pihole")} {
		problems = append(problems, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			return fillFile(path, all)
		}))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	filled, err := os.ReadFile(defaults)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "usr/local/share/cubeos/defaults.env"), filled, 0o644)
}

func fillFile(path string, values map[string]string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var problems []error
	filled := placeholder.ReplaceAllStringFunc(string(text), func(found string) string {
		value, ok := values[strings.Trim(found, "@")]
		if !ok {
			problems = append(problems, fmt.Errorf("%s: no provisioner has a value for %s", path, found))
		}
		return value
	})
	return errors.Join(append(problems, os.WriteFile(path, []byte(filled), 0o644))...)
}

// describe writes what is known of this device only: its services, and the files of
// the operating system that they read.
func (d device) describe(o Options) error {
	list, err := json.Marshal(map[string]services.List{"services": o.Services})
	if err != nil {
		return err
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return err
	}
	var problems []error
	for name, content := range map[string]string{
		"usr/local/share/cubeos/services.json": string(list),
		"etc/os-release":                       string(release),
		"etc/hostname":                         o.Variables["CUBEOS_HOSTNAME"] + "\n",
		"etc/machine-id":                       strings.Repeat("0123456789abcdef", 2) + "\n",
	} {
		problems = append(problems, os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o644))
	}
	return errors.Join(problems...)
}

// provide makes sure that a container can be given what it wants to see of the
// device. What is not there becomes a directory, as Docker would make it.
func (d device) provide(s spec) error {
	var problems []error
	for _, m := range s.Mounts {
		path := filepath.Join(d.dir, m.Source)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !ofKernel(m.Source) && m.Source != dockerSocket {
			problems = append(problems, os.MkdirAll(path, 0o755))
		}
	}
	if len(s.DNS) > 0 {
		problems = append(problems, os.WriteFile(filepath.Join(d.dir, resolverFile(s.DNS)), []byte("nameserver "+strings.Join(s.DNS, "\nnameserver ")+"\n"), 0o644))
	}
	return errors.Join(problems...)
}

// resolverFile is the device's file that a container with name servers of its own
// finds as /etc/resolv.conf: Docker gives none to those that share a network.
func resolverFile(servers []string) string { return "resolv.conf." + strings.Join(servers, ",") }

// ofKernel are directories that no device brings along.
func ofKernel(path string) bool { return path == "/dev" || path == "/proc" || path == "/sys" }
