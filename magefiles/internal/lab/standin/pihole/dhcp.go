package pihole

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// defaultLease is dnsmasq's, for an empty dhcp.leaseTime.
const defaultLease = time.Hour

// dhcp hands out addresses as FTL's dnsmasq does with the same settings: on
// every interface that has an address in the range's network.
type dhcp struct {
	start, end, router netip.Addr
	netmask            netip.Addr // 0.0.0.0: the interface's
	leaseTime          time.Duration
	domain             string
	fixed              map[string]netip.Addr // by hardware address
	except             []string              // interfaces
	leases             *leaseTable
}

func newDHCP(c *config, l *lines, leases *leaseTable) (*dhcp, error) {
	d := &dhcp{
		start: c.addr("dhcp.start"), end: c.addr("dhcp.end"), router: c.addr("dhcp.router"), netmask: c.addr("dhcp.netmask"),
		domain: c.text("dns.domain.name"), fixed: map[string]netip.Addr{}, except: l.noDHCP, leases: leases,
	}
	var err error
	if d.leaseTime, err = parseLeaseTime(c.text("dhcp.leaseTime")); err != nil {
		return nil, fmt.Errorf("dhcp.leaseTime: %w", err)
	}
	for _, host := range l.staticLeases {
		var hardware net.HardwareAddr
		var addr netip.Addr
		for field := range strings.SplitSeq(host, ",") {
			if mac, err := net.ParseMAC(strings.TrimSpace(field)); err == nil {
				hardware = mac
			} else if ip, err := netip.ParseAddr(strings.TrimSpace(field)); err == nil {
				addr = ip
			}
		}
		if hardware != nil && addr.Is4() {
			d.fixed[hardware.String()] = addr
		}
	}
	return d, nil
}

// parseLeaseTime reads seconds, or a number with m, h, d or w; 0 is for ever.
func parseLeaseTime(s string) (time.Duration, error) {
	if s == "" {
		return defaultLease, nil
	}
	if s == "infinite" {
		return 0, nil
	}
	unit := time.Second
	switch s[len(s)-1] {
	case 'm':
		unit = time.Minute
	case 'h':
		unit = time.Hour
	case 'd':
		unit = 24 * time.Hour
	case 'w':
		unit = 7 * 24 * time.Hour
	}
	n, err := strconv.Atoi(strings.TrimRight(s, "mhdw"))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("bad lease time %q", s)
	}
	return time.Duration(n) * unit, nil
}

// serve answers on addr until ctx ends.
func (d *dhcp) serve(ctx context.Context, addr string) error {
	reuse := func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
		}), err)
	}
	socket, err := (&net.ListenConfig{Control: reuse}).ListenPacket(ctx, "udp4", addr)
	if err != nil {
		return fmt.Errorf("failed to bind DHCP server socket: %w", err)
	}
	defer socket.Close()
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() }) // only to end what reads from it
	defer stop()
	conn := ipv4.NewPacketConn(socket)
	if err := conn.SetControlMessage(ipv4.FlagInterface, true); err != nil {
		return fmt.Errorf("DHCP: %w", err)
	}
	buf := make([]byte, 1500)
	for {
		n, control, _, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("DHCP: %w", err)
		}
		if control == nil {
			continue
		}
		if err := d.handle(conn, buf[:n], control.IfIndex); err != nil {
			log.Printf("DHCP: %v", err)
		}
	}
}

// handle answers a message that has come in by an interface.
func (d *dhcp) handle(conn *ipv4.PacketConn, message []byte, index int) error {
	request, err := dhcpv4.FromBytes(message)
	if err != nil {
		return err
	}
	network, err := d.network(index)
	if err != nil {
		return err
	}
	reply, err := d.answer(request, network, time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", request.ClientHWAddr, err)
	}
	if reply == nil {
		return nil
	}
	to := &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}
	if request.ClientIPAddr != nil && !request.ClientIPAddr.IsUnspecified() {
		to.IP = request.ClientIPAddr
	}
	_, err = conn.WriteTo(reply.ToBytes(), &ipv4.ControlMessage{IfIndex: index}, to)
	return err
}

// network returns the address and network that an interface has in the range.
func (d *dhcp) network(index int) (netip.Prefix, error) {
	iface, err := net.InterfaceByIndex(index)
	if err != nil {
		return netip.Prefix{}, err
	}
	if slices.Contains(d.except, iface.Name) {
		return netip.Prefix{}, fmt.Errorf("not on %s", iface.Name)
	}
	addrs, err := iface.Addrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, addr := range addrs {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil && prefix.Contains(d.start) {
			return prefix, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("no address range available for DHCP request via %s", iface.Name)
}

// answer returns the reply to a client's message, or nil if there is none.
func (d *dhcp) answer(request *dhcpv4.DHCPv4, network netip.Prefix, now time.Time) (*dhcpv4.DHCPv4, error) {
	server := network.Addr()
	if id, ok := netip.AddrFromSlice(request.ServerIdentifier().To4()); ok && id != server {
		return nil, nil // it has chosen another server
	}
	wish, _ := netip.AddrFromSlice(request.RequestedIPAddress().To4())
	if client, ok := netip.AddrFromSlice(request.ClientIPAddr.To4()); ok && !client.IsUnspecified() {
		wish = client
	}
	addr, fixed := d.fixed[request.ClientHWAddr.String()]
	if !fixed {
		addr = d.leases.choose(request.ClientHWAddr, wish, d.start, d.end, now)
	}
	kind := dhcpv4.MessageTypeOffer
	switch request.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
		if addr != wish {
			return d.reply(request, network, dhcpv4.MessageTypeNak, netip.IPv4Unspecified())
		}
	case dhcpv4.MessageTypeInform:
		return d.reply(request, network, dhcpv4.MessageTypeAck, netip.IPv4Unspecified())
	case dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeDecline:
		_, err := d.leases.remove(wish)
		return nil, err
	default:
		return nil, nil
	}
	if !addr.IsValid() {
		return nil, errors.New("no address available")
	}
	if kind == dhcpv4.MessageTypeAck {
		l := lease{hardware: request.ClientHWAddr.String(), addr: addr, name: request.HostName()}
		if d.leaseTime > 0 {
			l.expires = now.Add(d.leaseTime).Unix()
		}
		if id := request.GetOneOption(dhcpv4.OptionClientIdentifier); len(id) > 0 {
			l.clientID = net.HardwareAddr(id).String()
		}
		if err := d.leases.set(l); err != nil {
			return nil, err
		}
	}
	return d.reply(request, network, kind, addr)
}

func (d *dhcp) reply(request *dhcpv4.DHCPv4, network netip.Prefix, kind dhcpv4.MessageType, addr netip.Addr) (*dhcpv4.DHCPv4, error) {
	server := net.IP(network.Addr().AsSlice())
	with := []dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithServerIP(server),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)),
	}
	if kind != dhcpv4.MessageTypeNak {
		mask := net.CIDRMask(network.Bits(), 32)
		if !d.netmask.IsUnspecified() {
			mask = net.IPMask(d.netmask.AsSlice())
		}
		with = append(with, dhcpv4.WithYourIP(addr.AsSlice()), dhcpv4.WithNetmask(mask),
			dhcpv4.WithRouter(net.IP(d.router.AsSlice())), dhcpv4.WithDNS(server))
		if d.domain != "" {
			with = append(with, dhcpv4.WithOption(dhcpv4.OptDomainName(d.domain)))
		}
		seconds := uint32(0xffffffff)
		if d.leaseTime > 0 {
			seconds = uint32(d.leaseTime / time.Second)
		}
		if request.MessageType() != dhcpv4.MessageTypeInform {
			with = append(with, dhcpv4.WithLeaseTime(seconds))
		}
	}
	return dhcpv4.NewReplyFromRequest(request, with...)
}
