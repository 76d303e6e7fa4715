package machine

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// GuestAddress is what QEMU's user network gives the guest's eth0, and where it
// forwards ports to.
const GuestAddress = "10.0.2.15"

// forwardedTo is where a port of the guest is reached from this host.
func (m *Machine) forwardedTo(protocol string, port int) (string, error) {
	for _, f := range m.Spec.Forwards {
		if f.Proto == protocol && f.Guest == port {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(f.Host)), nil
		}
	}
	return "", fmt.Errorf("port %d/%s of the guest is not forwarded", port, protocol)
}

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
