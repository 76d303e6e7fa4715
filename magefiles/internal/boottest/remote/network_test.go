package remote

import (
	"encoding/hex"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// TestExchangeCommand runs what would run on the device against a DNS server of
// this host.
func TestExchangeCommand(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		r := new(dns.Msg)
		r.SetReply(q)
		r.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(10, 42, 24, 1),
		}}
		_ = w.WriteMsg(r)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	query := new(dns.Msg)
	query.SetQuestion("cubeos.cube.", dns.TypeA)
	query.Id = 0x0025 // a NUL and a percent sign, which printf must not take for its own
	packed, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	port := pc.LocalAddr().(*net.UDPAddr).Port
	command := strings.Replace(exchangeCommand("127.0.0.1", packed), "/dev/udp/127.0.0.1/53", "/dev/udp/127.0.0.1/"+strconv.Itoa(port), 1)
	out, err := process.Output(t.Context(), "sh", "-c", command)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(out), ""))
	if err != nil {
		t.Fatal(err)
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(b); err != nil || reply.Id != query.Id || len(reply.Answer) != 1 {
		t.Errorf("the answer is %v (%v)", reply, err)
	}
}

func TestStaysOpen(t *testing.T) {
	for name, tt := range map[string]struct {
		serve    func(net.Conn)
		patience time.Duration
		want     bool
	}{
		"closed at once":        {func(c net.Conn) { c.Close() }, time.Minute, false},
		"says something first":  {func(c net.Conn) { c.Write([]byte("220 ready")) }, time.Minute, true},
		"waits for us to speak": {func(net.Conn) {}, time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			accepted := make(chan net.Conn, 1)
			go func() {
				c, err := l.Accept()
				if err == nil {
					tt.serve(c)
					accepted <- c
				}
			}()
			got, err := staysOpen(t.Context(), l.Addr().String(), tt.patience)
			if err != nil || got != tt.want {
				t.Errorf("got %t, %v, want %t", got, err, tt.want)
			}
			(<-accepted).Close()
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := staysOpen(t.Context(), l.Addr().String(), time.Minute); err == nil {
		t.Error("nobody listens, which is not the guest's refusal")
	}
}
