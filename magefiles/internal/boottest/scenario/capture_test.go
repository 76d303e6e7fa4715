package scenario

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

func TestDatagramsOfACapture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "eth0.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	write := func(ls ...gopacket.SerializableLayer) {
		t.Helper()
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, ls...); err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	mac := []byte{2, 0, 0, 0, 0, 1}
	ethernet := &layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}
	ip := func(protocol layers.IPProtocol) *layers.IPv4 {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: []byte{10, 0, 2, 15}, DstIP: []byte{192, 0, 2, 7}}
	}
	write(ethernet, ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 40000, DstPort: 9001}, gopacket.Payload("x\n"))
	write(ethernet, ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 40000, DstPort: 9001})
	write(&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeARP}, gopacket.Payload("?"))
	write(ethernet, ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 40000, DstPort: 9002}, gopacket.Payload("x\n"))

	one := datagram{netip.MustParseAddrPort("10.0.2.15:40000"), netip.MustParseAddrPort("192.0.2.7:9001")}
	two := datagram{one.from, netip.MustParseAddrPort("192.0.2.7:9002")}
	if got, err := datagrams(path); err != nil || !slices.Equal(got, []datagram{one, two}) {
		t.Errorf("got %v, %v", got, err)
	}
	// QEMU may be in the middle of the last one.
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(info.Size() - 3); err != nil {
		t.Fatal(err)
	}
	if got, err := datagrams(path); err != nil || !slices.Equal(got, []datagram{one}) {
		t.Errorf("cut off: %v, %v", got, err)
	}
	if got := to([]datagram{one, two}, 9002); !slices.Equal(got, []datagram{two}) {
		t.Errorf("to port 9002: %v", got)
	}
}
