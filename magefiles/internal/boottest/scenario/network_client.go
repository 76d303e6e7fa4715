package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/boottest/machine"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// The client is the second simulated radio in a network namespace of its own, so
// that all it sends goes through the air. It has a fixed address, so that what a
// capture has of it can be told. What it looks for beyond the device is an address
// of a network for documentation.
const (
	clientAddress = "10.42.24.77"
	farAddress    = "192.0.2.7"
	gateway       = "10.0.2.2" // QEMU's, which it does not tell a device that is kept off the internet
	markers       = 1000       // from a port to the one that marks the end in the capture
)

// dockersRules prints all rules but ours, without counters.
const dockersRules = `iptables-save | sed -E 's/\[[0-9:]+\]//; /^#/d; /CUBEOS/d'`

func clientJoins() []boottest.Check {
	joined := says("joins", "wpa_supplicant has joined the access point with the key of ap.env",
		"wpa_cli -p /run/client -i wlan1 status | sed -n 's/^wpa_state=//p'", "COMPLETED")
	joined.Bound = settle
	return []boottest.Check{
		needing(boottest.NeedRadios, does("client", `set -e
phy=$(cat /sys/class/net/wlan1/phy80211/name)
ip netns add client
iw phy "$phy" set netns name client
ip -n client link set lo up
ip -n client address add `+clientAddress+`/24 dev wlan1
ip -n client link set wlan1 up
ip -n client route add default via `+cubeAddress+`
mkdir -p /etc/netns/client
echo nameserver `+cubeAddress+` >/etc/netns/client/resolv.conf
`+supplicant(`"$CUBEOS_AP_KEY"`))),
		joined,
	}
}

// wlan1Configured is a step: the device's second radio is told to join a network,
// for want of another one the device's own.
func wlan1Configured() boottest.Check {
	return needing(boottest.NeedRadios, does("a network for wlan1", `. /cubeos/config/ap.env
{ echo ctrl_interface=/run/wpa_supplicant; wpa_passphrase "$CUBEOS_AP_SSID" "$CUBEOS_AP_KEY"; } >/etc/wpa_supplicant/wpa_supplicant-wlan1.conf`))
}

func wlan1Joins() boottest.Check {
	c := says("wlan1 joins", "wlan1 has joined the network it was given", "wpa_cli -i wlan1 status | sed -n 's/^wpa_state=//p'", "COMPLETED")
	c.Bound = settle
	return needing(boottest.NeedRadios, c)
}

// supplicant is a command that starts wpa_supplicant for the client.
func supplicant(key string) string {
	return `. /cubeos/config/ap.env
{ echo ctrl_interface=/run/client; wpa_passphrase "$CUBEOS_AP_SSID" ` + key + `; } >/run/client.conf
systemd-run --quiet --unit=client ip netns exec client wpa_supplicant -i wlan1 -D nl80211 -c /run/client.conf`
}

func asClient(command string) string { return "ip netns exec client " + command }

func clientIsServed(l services.List) []boottest.Check {
	get := "curl -sSL -o /dev/null -w '%{http_code}' --max-time 20 http://"
	checks := []boottest.Check{
		matches("name", "the client resolves "+cubeDomain, asClient("getent ahostsv4 "+cubeDomain), `^`+cubeAddress+` `),
		says("http://"+cubeDomain, "the client gets a page", asClient(get+cubeDomain+"/"), "200"),
		says("http://"+cubeAddress, "the client gets a page", asClient(get+cubeAddress+"/"), "200"),
	}
	for _, s := range l {
		for _, p := range s.Ports {
			where := fmt.Sprintf("%s:%d", cubeAddress, p.Port)
			switch {
			case p.Reach != services.Network && slices.Contains(p.Protocols, "tcp"):
				checks = append(checks, says(portOf(s, p.Port), "it is closed to the client", asClient("curl -s --max-time 20 http://"+where)+`; echo "curl: $?"`, "curl: 7"))
			case p.Port == s.HTTP.Port:
				checks = append(checks, says(portOf(s, p.Port), "the client gets an answer", asClient(get+where+s.HTTP.Health), "200"))
			}
		}
	}
	return checks
}

func wrongKeyIsRefused() []boottest.Check {
	refused := matches("refused", "wpa_supplicant says that the key is wrong", "journalctl -u client.service -o cat", `4-Way Handshake failed|reason=WRONG_KEY`)
	refused.Bound = settle
	return []boottest.Check{
		does("client leaves", "systemctl stop client.service"),
		does("client with another key", supplicant("not-the-key")),
		refused,
		says("not joined", "the client is not in the network", "wpa_cli -p /run/client -i wlan1 status | grep -c wpa_state=COMPLETED || true", "0"),
	}
}

// mode is a step: the one command that changes it.
func mode(mode string) boottest.Check {
	return does("cubeos-network-mode "+mode, "cubeos-network-mode "+mode)
}

// routed is a step: eth0 is given the route that a router would give it.
func routed() boottest.Check {
	return needing(boottest.NeedCapture, does("a route by eth0", "ip route replace "+farAddress+" via "+gateway+" dev eth0"))
}

func sameAgain(mode string) boottest.Check {
	const rules = `{ iptables-save; ip6tables-save; } | sed -E 's/\[[0-9:]+\]//; /^#/d'`
	return says("again", "the same command again changes no rule",
		rules+" >/run/rules.once && cubeos-network-mode "+mode+" >/run/rules.log && "+rules+" | diff /run/rules.once -", "")
}

func vxlanDropped() boottest.Check {
	return matches("VXLAN", "what the client sends to Swarm's VXLAN port is dropped",
		asClient("bash -c 'echo x >/dev/udp/"+cubeAddress+"/4789'")+" && iptables -nvxL CUBEOS-INPUT", `(?m)^ +[1-9][0-9]* .* DROP .* udp dpt:4789`)
}

func noIPv6() boottest.Check {
	return says("IPv6", "nothing is forwarded to or from the client",
		"sysctl -n net.ipv6.conf.all.forwarding; ip6tables -S CUBEOS-FORWARD | tail -n +2",
		"0\n-A CUBEOS-FORWARD -i wlan0 -j DROP\n-A CUBEOS-FORWARD -o wlan0 -j DROP")
}

// send is a command with which the client sends a datagram.
func send(port int) string {
	return asClient(fmt.Sprintf("bash -c 'echo x >/dev/udp/%s/%d'", farAddress, port))
}

// staysIn asserts that what the client sends reaches the device and goes no
// further: a datagram of the device's own, sent after, comes out alone.
func staysIn(port int) boottest.Check {
	command := fmt.Sprintf(`dropped() { iptables -nvxL CUBEOS-FORWARD | awk '/DROP.* wlan0 .*! ctstate DNAT/ { print $1 }'; }
before=$(dropped)
%s
for i in $(seq 50); do
  if [ "$(dropped)" -gt "$before" ]; then exec bash -c 'echo x >/dev/udp/%s/%d'; fi
  sleep 0.2
done
echo "what the client sent did not arrive" >&2
exit 1`, send(port), farAddress, port+markers)
	return boottest.Check{
		Name: "client stays in", Asserts: "what the client sends is dropped by our rule, and none of it leaves by eth0", Bound: settle, Needs: boottest.NeedCapture,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			if _, err := s.Run(ctx, command); err != nil {
				return "", err
			}
			sent, err := sentByEth0(s)
			if err != nil {
				return "", err
			}
			if len(to(sent, port+markers)) == 0 {
				return "", fmt.Errorf("the capture does not yet have the device's own datagram")
			}
			if leaked := to(sent, port); len(leaked) > 0 {
				return "", boottest.Final("%d datagrams of the client left by eth0, from %s", len(leaked), leaked[0].from)
			}
			return "dropped; only the device's own datagram left", nil
		},
	}
}

func leavesTranslated(port int) boottest.Check {
	return boottest.Check{
		Name: "client leaves by eth0", Asserts: "what the client sends leaves by eth0 with eth0's address", Bound: settle, Needs: boottest.NeedCapture,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			if _, err := s.Run(ctx, send(port)); err != nil {
				return "", err
			}
			sent, err := sentByEth0(s)
			if err != nil {
				return "", err
			}
			found := to(sent, port)
			if len(found) == 0 {
				return "", fmt.Errorf("nothing to %s:%d left by eth0", farAddress, port)
			}
			for _, d := range found {
				if d.from.Addr().String() != machine.GuestAddress {
					return "", boottest.Final("a datagram left by eth0 from %s, expected %s", d.from, machine.GuestAddress)
				}
			}
			return fmt.Sprintf("%s to %s", found[0].from, found[0].to), nil
		},
	}
}

// sentByEth0 is what has left by eth0 until now. None of it may show an address
// of the access point's network.
func sentByEth0(s *boottest.Subject) ([]datagram, error) {
	all, err := datagrams(filepath.Join(s.Dir, boottest.Capture))
	if err != nil {
		return nil, err
	}
	clients := netip.MustParsePrefix(cubeAddress + "/24").Masked()
	for _, d := range all {
		if clients.Contains(d.from.Addr()) {
			return nil, boottest.Final("a datagram left by eth0 from %s, untranslated", d.from)
		}
	}
	return all, nil
}

func to(all []datagram, port int) []datagram {
	var found []datagram
	for _, d := range all {
		if d.to == netip.AddrPortFrom(netip.MustParseAddr(farAddress), uint16(port)) {
			found = append(found, d)
		}
	}
	return found
}

// networkBehindWiFi is a step: wlan1, a name the client's radio has left free, is
// a wire to a network namespace where a server tells who has asked it.
func networkBehindWiFi(port int) boottest.Check {
	return does("a network behind wlan1", strings.NewReplacer("FAR", farAddress, "PORT", fmt.Sprint(port)).Replace(`set -e
ip netns add upstream
ip link add wlan1 type veth peer name up0 netns upstream
ip address add 198.51.100.2/24 dev wlan1
ip link set wlan1 up
ip -n upstream address add 198.51.100.1/24 dev up0
ip -n upstream link set up0 up
ip -n upstream link set lo up
ip -n upstream address add FAR/32 dev lo
ip route replace FAR via 198.51.100.1 dev wlan1
systemd-run --quiet --unit=upstream ip netns exec upstream python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("FAR", PORT))
while True:
    _, peer = s.recvfrom(99)
    s.sendto((peer[0] + "\n").encode(), peer)
'`))
}

func answersByWiFi(port int) boottest.Check {
	return says("client leaves by wlan1", "a server behind wlan1 sees wlan1's address, and its answer reaches the client",
		asClient(fmt.Sprintf(`bash -c 'exec 3<>/dev/udp/%s/%d; echo x >&3; timeout 10 head -n 1 <&3'`, farAddress, port)), "198.51.100.2")
}
