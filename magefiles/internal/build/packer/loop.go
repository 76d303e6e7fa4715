package packer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/strslice"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// attachedArgv lists the loop devices on file. They are compared by the file's
// device and inode: a path means nothing in another mount namespace.
func attachedArgv(file string) []string {
	return []string{"losetup", "--noheadings", "--output", "NAME", "--associated", file}
}

func detachArgv(devices []string) []string {
	return append([]string{"losetup", "--detach"}, devices...)
}

// detach gives back the loop devices that a killed container leaves attached,
// unlike its mounts, which end with it. It asks a container of the same image,
// since the devices are those of the daemon's machine.
func (l leftover) detach(ctx context.Context, docker *client.Client) error {
	if l.file == "" {
		return nil // itself such a container
	}
	if _, err := os.Stat(l.output); l.volume == "" && errors.Is(err, fs.ErrNotExist) {
		return nil // without the file there is nothing to tell its devices by
	}
	found, err := l.helper(ctx, docker, attachedArgv(l.file))
	devices := strings.Fields(found)
	if err == nil && len(devices) > 0 {
		_, err = l.helper(ctx, docker, detachArgv(devices))
	}
	if err != nil {
		return fmt.Errorf("detaching the loop devices of %s: %w", l.file, err)
	}
	return nil
}

// helper runs argv in a container like the builder's and returns its output.
func (l leftover) helper(ctx context.Context, docker *client.Client, argv []string) (out string, err error) {
	config := &container.Config{
		Image:      l.image,
		Entrypoint: strslice.StrSlice(argv[:1]),
		Cmd:        argv[1:],
		Labels:     l.owner,
	}
	made, err := docker.ContainerCreate(ctx, config, hostConfig(l.mounts), nil, nil, "")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, remove(ctx, docker, made.ID)) }()
	ended, failed := docker.ContainerWait(ctx, made.ID, container.WaitConditionNextExit)
	if err := docker.ContainerStart(ctx, made.ID, container.StartOptions{}); err != nil {
		return "", err
	}
	var status int64
	select {
	case err := <-failed:
		return "", err
	case end := <-ended:
		status = end.StatusCode
	}
	logs, err := docker.ContainerLogs(ctx, made.ID, container.LogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", err
	}
	defer logs.Close()
	var stdout, stderr bytes.Buffer
	if _, err := stdcopy.StdCopy(&stdout, &stderr, logs); err != nil {
		return "", err
	}
	if status != 0 {
		return "", fmt.Errorf("%s: exit status %d: %s", strings.Join(argv, " "), status, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
