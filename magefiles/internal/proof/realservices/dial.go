package realservices

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// dialer connects from within a container's network: its loopback address is
// where some of the services listen, and the daemon may be on another machine.
type dialer struct {
	docker    *client.Client
	container string
}

// DialContext runs the device's program in the container once more; it copies what
// goes to and fro.
func (d dialer) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	made, err := d.docker.ContainerExecCreate(ctx, d.container, container.ExecOptions{
		Cmd: []string{program, "dial", address}, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to %s in the device's container: %w", address, err)
	}
	stream, err := d.docker.ContainerExecAttach(ctx, made.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, fmt.Errorf("connecting to %s in the device's container: %w", address, err)
	}
	r, w := io.Pipe()
	go func() {
		var said strings.Builder
		_, err := stdcopy.StdCopy(w, &said, stream.Reader)
		if err == nil && said.Len() > 0 {
			err = errors.New(strings.TrimSpace(said.String()))
		}
		w.CloseWithError(err)
	}()
	return execConn{Conn: stream.Conn, answers: r}, nil
}

// execConn is a connection whose answers come in frames of Docker's.
type execConn struct {
	net.Conn
	answers *io.PipeReader
}

func (c execConn) Read(p []byte) (int, error) { return c.answers.Read(p) }

func (c execConn) Close() error { return errors.Join(c.answers.Close(), c.Conn.Close()) }
