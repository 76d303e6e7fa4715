package scenario

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// datagram is a UDP packet over IPv4.
type datagram struct{ from, to netip.AddrPort }

// datagrams returns those of a capture, which may still be written.
func datagrams(path string) ([]datagram, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	packets, err := pcapgo.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	var all []datagram
	for {
		data, _, err := packets.ReadPacketData()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		p := gopacket.NewPacket(data, packets.LinkType(), gopacket.NoCopy)
		ip, isIP := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		udp, isUDP := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !isIP || !isUDP {
			continue
		}
		from, _ := netip.AddrFromSlice(ip.SrcIP)
		to, _ := netip.AddrFromSlice(ip.DstIP)
		all = append(all, datagram{
			netip.AddrPortFrom(from.Unmap(), uint16(udp.SrcPort)),
			netip.AddrPortFrom(to.Unmap(), uint16(udp.DstPort)),
		})
	}
}
