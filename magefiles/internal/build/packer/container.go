package packer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sys/unix"

	"github.com/cubeos-app/releases/magefiles/internal/sys/dockerd"
)

// create makes the container: over this machine's files if the daemon sees
// them, otherwise with a volume to copy them into.
func (b *packerRun) create(ctx context.Context) error {
	b.mounts = sharedMounts(b.Root, b.output, b.job.Base)
	err := b.createWith(ctx)
	if !unseen(err) {
		return err
	}
	b.Log.Printf("the Docker daemon at %s does not see this machine's files: copying them there", b.docker.DaemonHost())
	v, err := b.docker.VolumeCreate(ctx, volume.CreateOptions{Name: containerName(b.id), Labels: b.labels()})
	if err != nil {
		return fmt.Errorf("creating a volume for the builder: %w", err)
	}
	b.volume, b.mounts = v.Name, volumeMounts(v.Name)
	return b.createWith(ctx)
}

// unseen recognises the daemon's answer that it does not have a file that is
// to be mounted. The output directory has a name of this build alone, so a
// daemon that has it does see this machine's files.
func unseen(err error) bool {
	return cerrdefs.IsInvalidArgument(err) && strings.Contains(err.Error(), "bind source path does not exist")
}

func (b *packerRun) createWith(ctx context.Context) error {
	config := b.config(b.job, b.Builder.String(), b.labels())
	if own, err := b.ownKernel(ctx); err != nil {
		return err
	} else if !own {
		config.Env = append(config.Env, "SETUP_QEMU=true")
	}
	made, err := b.docker.ContainerCreate(ctx, config, hostConfig(b.mounts), nil, nil, containerName(b.id))
	if err != nil {
		return fmt.Errorf("creating the builder's container: %w", err)
	}
	b.container = made.ID
	for _, warning := range made.Warnings {
		b.Log.Printf("warning: Docker: %s", warning)
	}
	return nil
}

// ownKernel reports whether containers run on this machine's kernel, which has
// a handler for arm64 programs by now.
func (b *packerRun) ownKernel(ctx context.Context) (bool, error) {
	if b.volume != "" {
		return false, nil
	}
	info, err := b.docker.Info(ctx)
	if err != nil {
		return false, fmt.Errorf("asking the Docker daemon what it runs on: %w", err)
	}
	var here unix.Utsname
	if err := unix.Uname(&here); err != nil {
		return false, err
	}
	return unix.ByteSliceToString(here.Release[:]) == info.KernelVersion, nil
}

// start runs the container to its end.
func (b *packerRun) start(ctx context.Context) (err error) {
	out, err := newOutput(b.job, b.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	stream, err := b.docker.ContainerAttach(ctx, b.container, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attaching to the builder's container: %w", err)
	}
	defer stream.Close()
	read := make(chan error, 1)
	go func() {
		_, err := stdcopy.StdCopy(out, out.debug, stream.Reader)
		read <- err
	}()
	// Asked for before the start, so that no end is missed.
	ended, failed := b.docker.ContainerWait(ctx, b.container, container.WaitConditionNextExit)
	if err := b.docker.ContainerStart(ctx, b.container, container.StartOptions{}); err != nil {
		return fmt.Errorf("starting the builder's container: %w", err)
	}
	b.Log.Printf("Packer runs in the container %s; all it prints goes to %s", containerName(b.id), out.log.Name())
	return b.follow(ctx, out, read, ended, failed)
}

// follow waits for the end of the container, of what it prints, or of either's
// being heard of.
func (b *packerRun) follow(ctx context.Context, out *output, read <-chan error, ended <-chan container.WaitResponse, failed <-chan error) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-read:
			if err := unkept(err); err != nil {
				return err
			}
			read = nil
		case err := <-failed:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return b.lost(err)
		case end := <-ended:
			if err := drain(read); err != nil {
				return err
			}
			return b.outcome(ctx, end.StatusCode, out)
		}
	}
}

// drain waits for the last lines. A process that outlives Packer could hold
// the stream open.
func drain(read <-chan error) error {
	if read == nil {
		return nil
	}
	select {
	case err := <-read:
		return unkept(err)
	case <-time.After(5 * time.Second):
		return nil
	}
}

// unkept is the error of a log that could not be written. That the stream
// broke off says nothing more than the container's end, or the daemon's.
func unkept(err error) error {
	if local := new(fs.PathError); errors.As(err, &local) {
		return fmt.Errorf("keeping what Packer prints: %w", err)
	}
	return nil
}

func (b *packerRun) lost(err error) error {
	return fmt.Errorf("the Docker daemon at %s went away during the build (%w); once it runs again, start the build again: what was left there is cleared away then", b.docker.DaemonHost(), err)
}

// outcome says how the container ended.
func (b *packerRun) outcome(ctx context.Context, status int64, out *output) error {
	state, err := b.docker.ContainerInspect(ctx, b.container)
	switch {
	case dockerd.Unreachable(err):
		return b.lost(err)
	case cerrdefs.IsNotFound(err):
		return fmt.Errorf("the builder's container was removed while it ran%s", out.whereabouts())
	case err != nil:
		return fmt.Errorf("asking how the builder's container ended: %w", err)
	}
	b.finished = status < 128
	switch {
	case status == 0:
		return nil
	case state.State.OOMKilled:
		return fmt.Errorf("%w\nthe container ran out of memory: end other programs on the Docker daemon's machine, or give it more", out.failure(status))
	case !b.finished:
		return out.interference(status)
	}
	return out.failure(status)
}

// stopWithin is how long Packer has to unmount and detach what it made.
const stopWithin = 30 // seconds

// undo removes everything the build has put anywhere but the finished image.
func (b *packerRun) undo(ctx context.Context) error {
	left := leftover{owner: b.owner(), image: b.Builder.String(), container: b.container, volume: b.volume, mounts: b.mounts, file: imagePath(b.job), output: b.output}
	if b.container == "" {
		left.mounts = nil
	}
	return left.clear(ctx, b.docker, b.finished)
}

// leftover is what a build has put somewhere.
type leftover struct {
	owner     map[string]string // labels of who clears it away
	image     string            // that the container was made of
	container string            // "" if there is none
	volume    string            // likewise
	mounts    []mount.Mount
	file      string // the image under construction, in the container
	output    string // directory of this machine
}

// clear stops the container and removes it and all that belongs to it. tidy
// says that Packer has ended by itself, and so has detached its loop devices.
func (l leftover) clear(ctx context.Context, docker *client.Client, tidy bool) error {
	if l.container != "" {
		timeout := stopWithin
		err := docker.ContainerStop(ctx, l.container, container.StopOptions{Timeout: &timeout, Signal: "SIGTERM"})
		if err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("stopping the builder's container %s, which is therefore left for the next build to clear away: %w", l.container, err)
		}
		if !tidy {
			err = l.detach(ctx, docker)
		}
		// What is attached can be found only as long as its file is there.
		if err := errors.Join(err, remove(ctx, docker, l.container)); err != nil {
			return fmt.Errorf("clearing away the builder's container: %w", err)
		}
	}
	if l.volume != "" {
		if err := docker.VolumeRemove(ctx, l.volume, true); err != nil && !cerrdefs.IsNotFound(err) {
			return fmt.Errorf("removing the builder's volume: %w", err)
		}
	}
	return removeOutput(l.output)
}

func remove(ctx context.Context, docker *client.Client, id string) error {
	err := docker.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) && strings.Contains(err.Error(), "already in progress") {
		return nil
	}
	return err
}
