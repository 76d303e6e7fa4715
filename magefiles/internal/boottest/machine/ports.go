package machine

import (
	"errors"
	"fmt"
	"net"
)

// choosePorts fills in the free loopback port of every forward that has none.
// All stay bound until the last is found, so that none is handed out twice.
func choosePorts(forwards []Forward) (_ []Forward, err error) {
	chosen := make([]Forward, len(forwards))
	for i, f := range forwards {
		if f.Host == 0 {
			port, release, bindErr := bindFree(f.Proto)
			if bindErr != nil {
				return nil, fmt.Errorf("finding a free %s port for port %d of the guest: %w", f.Proto, f.Guest, bindErr)
			}
			defer func() { err = errors.Join(err, release()) }()
			f.Host = port
		}
		chosen[i] = f
	}
	return chosen, nil
}

func bindFree(proto string) (port int, release func() error, err error) {
	switch proto {
	case "tcp":
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return 0, nil, err
		}
		return l.Addr().(*net.TCPAddr).Port, l.Close, nil
	case "udp":
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return 0, nil, err
		}
		return c.LocalAddr().(*net.UDPAddr).Port, c.Close, nil
	}
	return 0, nil, fmt.Errorf("protocol %q is neither tcp nor udp", proto)
}
