package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// monitor asks the QEMU whose QMP socket is in dir to execute one command and
// returns its answer. A connection a command keeps nothing open between two, and
// QEMU takes one at a time.
func monitor(ctx context.Context, dir, command string, arguments any) (answer json.RawMessage, err error) {
	conn, err := dialIn(ctx, dir, qmpSocket)
	if err != nil {
		return nil, fmt.Errorf("connecting to the machine's monitor: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	dec := json.NewDecoder(conn)
	var greeting struct{ QMP json.RawMessage }
	if err := dec.Decode(&greeting); err != nil {
		return nil, fmt.Errorf("reading the monitor's greeting: %w", err)
	}
	for _, step := range []qmpRequest{{Execute: "qmp_capabilities"}, {Execute: command, Arguments: arguments}} {
		if answer, err = step.do(conn, dec); err != nil {
			return nil, fmt.Errorf("monitor command %s: %w", step.Execute, err)
		}
	}
	return answer, nil
}

type qmpRequest struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

func (r qmpRequest) do(conn net.Conn, dec *json.Decoder) (json.RawMessage, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	for {
		var reply struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := dec.Decode(&reply); err != nil {
			return nil, err
		}
		if reply.Error != nil {
			return nil, errors.New(reply.Error.Desc)
		}
		if reply.Return != nil { // anything else is an event
			return reply.Return, nil
		}
	}
}

// dialIn connects to a socket in dir by way of an open directory: a socket's
// path may have 107 characters, and a build directory's can be longer.
func dialIn(ctx context.Context, dir, name string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name))
}
