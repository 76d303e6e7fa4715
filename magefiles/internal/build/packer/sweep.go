package packer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
	"github.com/cubeos-app/releases/magefiles/internal/sys/lock"
)

// Labels of what a build makes in a daemon. Together they say what a later
// build has to clear away if this one is killed.
const (
	labelPrefix  = "app.cubeos.releases."
	projectLabel = labelPrefix + "project"
	project      = "cubeos-releases"
	buildLabel   = labelPrefix + "build"  // the build's ID
	hostLabel    = labelPrefix + "host"   // the machine it runs on
	lockLabel    = labelPrefix + "lock"   // a file of that machine, locked while it runs
	outputLabel  = labelPrefix + "output" // a directory of that machine
	fileLabel    = labelPrefix + "file"   // the image under construction, in the container
)

func (b *packerRun) labels() map[string]string {
	labels := b.owner()
	labels[buildLabel] = b.id
	labels[outputLabel] = b.output
	labels[fileLabel] = imagePath(b.job)
	return labels
}

// owner are the labels that say whose something is.
func (e Engine) owner() map[string]string {
	return map[string]string{projectLabel: project, hostLabel: dockerd.HostID(), lockLabel: e.Lock}
}

// sweep clears away what killed builds of this machine have left in the
// daemon, and their output in dir. The caller holds its own build's lock.
func (e Engine) sweep(ctx context.Context, docker *client.Client, dir string) error {
	mine := filters.NewArgs(filters.Arg("label", projectLabel+"="+project), filters.Arg("label", hostLabel+"="+dockerd.HostID()))
	containers, err := docker.ContainerList(ctx, container.ListOptions{All: true, Filters: mine})
	if err != nil {
		return fmt.Errorf("looking for containers of killed builds: %w", err)
	}
	for _, c := range containers {
		if !e.stale(c.Labels) {
			continue
		}
		e.Log.Printf("removing the container %s of a build that was killed", strings.Join(c.Names, " "))
		l, err := e.leftover(ctx, docker, c)
		if err != nil {
			return err
		}
		if err := l.clear(ctx, docker, false); err != nil {
			return fmt.Errorf("clearing away what a killed build left: %w", err)
		}
	}
	volumes, err := docker.VolumeList(ctx, volume.ListOptions{Filters: mine})
	if err != nil {
		return fmt.Errorf("looking for volumes of killed builds: %w", err)
	}
	for _, v := range volumes.Volumes {
		if e.stale(v.Labels) {
			if err := (leftover{volume: v.Name}).clear(ctx, docker, true); err != nil {
				return err
			}
		}
	}
	outputs, err := filepath.Glob(filepath.Join(dir, outputPrefix+"*"))
	for _, o := range outputs {
		err = errors.Join(err, removeOutput(o))
	}
	return err
}

// stale reports whether the build that has these labels runs no longer: its
// lock can be had, or is the caller's own.
func (e Engine) stale(labels map[string]string) bool {
	lockFile := labels[lockLabel]
	if lockFile == e.Lock {
		return true
	}
	unlock, err := lock.TryExisting(lockFile, lock.Shared)
	if err != nil {
		return lockFile != "" && errors.Is(err, fs.ErrNotExist)
	}
	return unlock() == nil
}

func (e Engine) leftover(ctx context.Context, docker *client.Client, c container.Summary) (leftover, error) {
	l := leftover{owner: e.owner(), image: c.ImageID, container: c.ID, file: c.Labels[fileLabel], output: c.Labels[outputLabel]}
	state, err := docker.ContainerInspect(ctx, c.ID)
	if err != nil {
		return l, fmt.Errorf("looking at the container of a killed build: %w", err)
	}
	for _, m := range state.HostConfig.Mounts {
		if m.Target == "/dev" {
			continue
		}
		l.mounts = append(l.mounts, m)
		if m.Type == mount.TypeVolume {
			l.volume = m.Source
		}
	}
	return l, nil
}

// removeOutput removes a build's output directory, and never anything else.
func removeOutput(dir string) error {
	if dir == "" || !strings.HasPrefix(filepath.Base(dir), outputPrefix) {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing what the builder left: %w", err)
	}
	return nil
}
