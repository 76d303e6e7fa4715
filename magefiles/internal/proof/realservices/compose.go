package realservices

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// spec is how a device runs a service, as its compose file says.
type spec struct {
	Image       string
	Environment []string // KEY=value, sorted
	HostNetwork bool     // the device's own; otherwise the service has one of its own
	HostPID     bool
	Privileged  bool
	Caps        []string
	DNS         []string
	Mounts      []bind
	Secrets     []secret
}

// bind is a file or directory of the device that the container sees.
type bind struct {
	Source, Target string
	ReadOnly       bool
}

// secret is one of Swarm's, which the container finds as a file.
type secret struct{ Name, Target string }

// readSpec reads the compose file of a service in the checkout at root, with env for
// its variables. It refuses what it would have to leave out: the container would not
// be the device's.
func readSpec(ctx context.Context, root string, s services.Service, env map[string]string) (spec, error) {
	file := s.ComposeFile()
	text, err := os.ReadFile(filepath.Join(root, services.RootFS, file))
	if err != nil {
		return spec{}, err
	}
	project, err := loader.LoadWithContext(ctx, types.ConfigDetails{
		WorkingDir:  "/" + filepath.Dir(file),
		ConfigFiles: []types.ConfigFile{{Filename: file, Content: text}},
		Environment: env,
	}, func(o *loader.Options) { o.SetProjectName(s.Name, true) })
	if err != nil {
		return spec{}, fmt.Errorf("%s: %w", file, err)
	}
	config, err := project.GetService(s.Name)
	if err != nil || len(project.Services) != 1 {
		return spec{}, fmt.Errorf("%s: want the one service %s, it has %s", file, s.Name, strings.Join(project.ServiceNames(), ", "))
	}
	known, rest := split(config)
	if unknown := fields(rest); len(unknown) > 0 {
		return spec{}, fmt.Errorf("%s: %s: comparing the real service does not know what to make of that", file, strings.Join(unknown, ", "))
	}
	return known, nil
}

// split takes what is understood out of a service; what is left is not.
func split(c types.ServiceConfig) (known spec, rest types.ServiceConfig) {
	known = spec{Image: c.Image, Privileged: c.Privileged, Caps: c.CapAdd, DNS: c.DNS, HostPID: c.Pid == "host"}
	for name, value := range c.Environment {
		if value != nil {
			known.Environment = append(known.Environment, name+"="+*value)
		}
	}
	slices.Sort(known.Environment)
	_, known.HostNetwork = c.Networks["host"]
	known.HostNetwork = known.HostNetwork || c.NetworkMode == "host"
	for _, s := range c.Secrets {
		known.Secrets = append(known.Secrets, secret{Name: s.Source, Target: s.Target})
	}
	var strange []types.ServiceVolumeConfig
	for _, v := range c.Volumes {
		known.Mounts = append(known.Mounts, bind{Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly})
		// What is mounted on a device later is not mounted here.
		if v.Bind != nil && reflect.DeepEqual(*v.Bind, types.ServiceVolumeBind{Propagation: v.Bind.Propagation, CreateHostPath: v.Bind.CreateHostPath}) {
			v.Bind = nil
		}
		if plain := (types.ServiceVolumeConfig{Type: types.VolumeTypeBind, Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly}); !reflect.DeepEqual(v, plain) {
			strange = append(strange, v)
		}
	}

	rest = c
	rest.Volumes = strange
	rest.Image, rest.Privileged, rest.CapAdd, rest.DNS, rest.Environment, rest.Secrets = "", false, nil, nil, nil, nil
	if rest.Pid == "host" {
		rest.Pid = ""
	}
	if rest.NetworkMode == "host" {
		rest.NetworkMode = ""
	}
	rest.Networks = maps.Clone(rest.Networks)
	delete(rest.Networks, "host")
	delete(rest.Networks, "default")
	// How the device names, restarts and publishes it makes no difference to what
	// it answers.
	rest.Name, rest.ContainerName, rest.Restart, rest.Deploy, rest.Ports = "", "", "", nil, nil
	return known, rest
}

// fields are the names of what has a value.
func fields(rest types.ServiceConfig) []string {
	var values map[string]any
	raw, err := json.Marshal(rest)
	if err == nil {
		err = json.Unmarshal(raw, &values)
	}
	if err != nil {
		return []string{err.Error()}
	}
	maps.DeleteFunc(values, func(_ string, value any) bool { return value == nil })
	return slices.Sorted(maps.Keys(values))
}
