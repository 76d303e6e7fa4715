package remote

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

// request is how long a device may take to answer one request.
const request = 20 * time.Second

// HTTP asks a port of the device for a path and returns the status code.
// Redirects are not followed: a 3xx is the answer.
func (d *Device) HTTP(ctx context.Context, scheme string, port int, path string) (int, error) {
	addr, err := d.Addr("tcp", port)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+path, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,                                  // a connection must not outlive a reboot
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a device that was just flashed can only have a certificate of its own
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("asking port %d of the device for %s: %w", port, path, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return 0, fmt.Errorf("reading the answer of port %d of the device: %w", port, err)
	}
	return resp.StatusCode, nil
}

// refusal is how long a device may take to refuse a connection.
const refusal = 10 * time.Second

// Accepts reports whether something on the device accepts connections from outside
// to a TCP port. A port that is forwarded is accepted by QEMU itself, and closed when
// the device does not. No answer at all is an error.
func (d *Device) Accepts(ctx context.Context, port int) (bool, error) {
	addr, err := d.Addr("tcp", port)
	if err != nil {
		return false, err
	}
	open, err := staysOpen(ctx, addr, refusal)
	if !d.forwarded() && errors.Is(err, syscall.ECONNREFUSED) {
		return false, nil
	}
	return open, err
}

func staysOpen(ctx context.Context, addr string, patience time.Duration) (bool, error) {
	dialer := net.Dialer{Timeout: refusal}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return false, err
	}
	_, err = conn.Read(make([]byte, 1))
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return false, nil
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return true, nil
	}
	return false, err
}

// LookupA asks the device's DNS server, by udp or tcp, for the IPv4 addresses of
// a name, and says where it asked from.
//
// QEMU's user network drops all UDP of a guest that is kept off the internet,
// answers to a forwarded port too (udp_input of libslirp). So one behind it is asked
// over UDP from inside, at the address that the outside would reach.
func (d *Device) LookupA(ctx context.Context, proto, name string) (found []string, where string, err error) {
	query := question(name, dns.TypeA)
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	var reply *dns.Msg
	if proto == "udp" && d.forwarded() {
		where = "from inside"
		reply, err = d.exchangeInside(ctx, d.config.Behind, query)
	} else {
		where = "from outside"
		reply, err = d.exchange(ctx, proto, query)
	}
	if err != nil {
		return nil, where, fmt.Errorf("asking the device's DNS (%s) for %s: %w", proto, name, err)
	}
	if reply.Rcode != dns.RcodeSuccess {
		return nil, where, fmt.Errorf("asking the device's DNS (%s) for %s: it answered %s", proto, name, dns.RcodeToString[reply.Rcode])
	}
	for _, rr := range reply.Answer {
		if a, ok := rr.(*dns.A); ok {
			found = append(found, a.A.String())
		}
	}
	return found, where, nil
}

// Lookup asks the DNS server at an address of the device's, over UDP and from
// inside, for records of a type, as in "AAAA". No answer within five seconds is an
// error; an answer without records, whatever its status, is none.
func (d *Device) Lookup(ctx context.Context, server, name, recordType string) (records []string, status string, err error) {
	ctx, cancel := context.WithTimeout(ctx, request)
	defer cancel()
	reply, err := d.exchangeInside(ctx, server, question(name, dns.StringToType[recordType]))
	if err != nil {
		return nil, "", fmt.Errorf("asking the device's DNS at %s for %s of %s: %w", server, recordType, name, err)
	}
	for _, rr := range reply.Answer {
		records = append(records, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return records, dns.RcodeToString[reply.Rcode], nil
}

func question(name string, recordType uint16) *dns.Msg {
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), recordType)
}

func (d *Device) exchange(ctx context.Context, proto string, query *dns.Msg) (*dns.Msg, error) {
	addr, err := d.Addr(proto, 53)
	if err != nil {
		return nil, err
	}
	client := dns.Client{Net: proto, Timeout: request / 4}
	reply, _, err := client.ExchangeContext(ctx, query, addr)
	return reply, err
}

func (d *Device) exchangeInside(ctx context.Context, server string, query *dns.Msg) (*dns.Msg, error) {
	packed, err := query.Pack()
	if err != nil {
		return nil, err
	}
	out, err := d.Run(ctx, exchangeCommand(server, packed))
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(out), ""))
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("the device got no answer: %q", out)
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(b); err != nil {
		return nil, err
	}
	if reply.Id != query.Id {
		return nil, errors.New("the answer is to another question")
	}
	return reply, nil
}

// exchangeCommand sends a datagram to a DNS server and prints the answer in
// hexadecimal, with nothing but what every Debian has.
func exchangeCommand(server string, datagram []byte) string {
	var escaped strings.Builder
	for _, b := range datagram {
		fmt.Fprintf(&escaped, `\x%02x`, b)
	}
	return process.Quote([]string{"bash", "-c", fmt.Sprintf(
		`exec 3<>/dev/udp/%s/53 && printf '%s' >&3 && timeout 5 dd bs=4096 count=1 status=none <&3 | od -An -v -tx1`, server, escaped.String())})
}
