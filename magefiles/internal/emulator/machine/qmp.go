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

// monitor asks the QEMU whose QMP socket is in dir to execute one command. A
// connection a command keeps nothing open between two, and QEMU takes one at a
// time.
func monitor(ctx context.Context, dir, command string, arguments any) (err error) {
	conn, err := dialIn(ctx, dir, qmpSocket)
	if err != nil {
		return fmt.Errorf("connecting to the machine's monitor: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	dec := json.NewDecoder(conn)
	var greeting struct{ QMP json.RawMessage }
	if err := dec.Decode(&greeting); err != nil {
		return fmt.Errorf("reading the monitor's greeting: %w", err)
	}
	for _, step := range []qmpRequest{{Execute: "qmp_capabilities"}, {Execute: command, Arguments: arguments}} {
		if err := step.do(conn, dec); err != nil {
			return fmt.Errorf("monitor command %s: %w", step.Execute, err)
		}
	}
	return nil
}

type qmpRequest struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
}

func (r qmpRequest) do(conn net.Conn, dec *json.Decoder) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return err
	}
	for {
		var reply struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := dec.Decode(&reply); err != nil {
			return err
		}
		if reply.Error != nil {
			return errors.New(reply.Error.Desc)
		}
		if reply.Return != nil { // anything else is an event
			return nil
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
