package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

// nameService is about DNS and DHCP, and the settings of Pi-hole, which gives both.
func nameService(l services.List) []boottest.Scenario {
	dns := service(l, pihole)
	changed := []boottest.Check{
		says("settings", "Pi-hole has what was set", inPihole(`request "/config" | jq --compact-output '.config | [.dns.hosts[1], .dns.upstreams, .dhcp.end, .misc.dnsmasq_lines[-1]]'`),
			`["10.42.24.9 printer.lan",["9.9.9.10"],"10.42.24.200","address=/nas.lan/10.42.24.8"]`),
		looksUp("printer.lan", "A", "10.42.24.9"),
		looksUp("nas.lan", "A", "10.42.24.8"),
		looksUp(cubeDomain, "A", cubeAddress),
	}
	return []boottest.Scenario{
		{
			Name: "no-internet", About: "with a cable behind which every packet is lost, the first boot completes, and names of the device's own are answered at once",
			Device: boottest.Device{Customise: atBoot(lostUpstream)},
			Phases: []boottest.Phase{
				{Name: "first boot", Checks: slices.Concat(
					[]boottest.Check{
						kernelStarts(), sshAnswers(),
						says("upstream", "packets to other networks are lost, and nothing says so", "curl -s --max-time 10 http://"+farAddress+"/ || echo \"curl: $?\"", "curl: 28"),
						initFinished("first", firstBound),
					},
					healthy(l), ownNames(),
				)},
				{Name: "client", Checks: slices.Concat(clientJoins(), []boottest.Check{leased()}, clientIsServed(l))},
			},
		},
		{
			Name: "pihole-settings", About: "what the Dashboard sets in Pi-hole is in force, stays changeable, and outlives the container and a reboot",
			From: boottest.Running,
			Phases: []boottest.Phase{
				{Name: "set", Checks: slices.Concat(
					[]boottest.Check{does("the Dashboard's call", inPihole(`lines=$(request /config/misc/dnsmasq_lines | jq '.config.misc.dnsmasq_lines + ["address=/nas.lan/10.42.24.8"]')
request /config --request PATCH --data '{"config":{"dns":{"hosts":["`+cubeAddress+` `+cubeDomain+`","10.42.24.9 printer.lan"],"upstreams":["9.9.9.10"]},"dhcp":{"end":"10.42.24.200"},"misc":{"dnsmasq_lines":'"$lines"'}}}'`))},
					changed, ownNames(),
				)},
				{Name: "container made again", Checks: slices.Concat(
					[]boottest.Check{
						does("container away", "docker rm --force "+dns.ContainerName()),
						does("the next boot's work", "systemctl restart cubeos-init.service"),
						initFinished("normal", bootBound),
					},
					changed,
				)},
				{Name: "reboot", Checks: slices.Concat(
					[]boottest.Check{reboots(), sshAnswers(), initFinished("normal", bootBound)},
					changed, ownNames(), []boottest.Check{noFailedUnit()},
				)},
			},
		},
	}
}

// lostUpstream gives eth0 a router as any home's cable does, and loses what comes
// from beyond it. QEMU's own network tells a device that it keeps off the internet
// of no router, and refuses connections at once: both are kinder than a cable to a
// router that has lost its line.
const lostUpstream = `set -eu
printf '%s\n' 'case $interface in eth0) ip route replace default via ` + gateway + ` dev eth0 metric 1002 || true ;; esac' >/etc/dhcpcd.exit-hook
iptables -t raw -A PREROUTING -i eth0 ! -s 10.0.2.0/24 -j DROP`

// ownNames asserts that names under the device's domain never leave it.
func ownNames() []boottest.Check {
	return []boottest.Check{
		looksUp(cubeDomain, "AAAA"), looksUp(cubeDomain, "HTTPS"), looksUp("any."+cubeDomain, "A", cubeAddress), looksUp("any."+cubeDomain, "AAAA"),
	}
}

// looksUp asks for a name at the access point's address.
func looksUp(name, recordType string, want ...string) boottest.Check {
	expected := strings.Join(want, ", ")
	if len(want) == 0 {
		expected = "no record"
	}
	return boottest.Check{
		Name: recordType + " of " + name, Asserts: "it is answered within five seconds: " + expected, Bound: settle,
		Ask: func(ctx context.Context, s *boottest.Subject) (string, error) {
			records, status, err := s.Lookup(ctx, cubeAddress, name, recordType)
			if err != nil {
				return "", err
			}
			if !slices.Equal(records, want) {
				return "", fmt.Errorf("it is %s %q, expected %s", status, records, expected)
			}
			return strings.TrimSpace(status + " " + strings.Join(records, ", ")), nil
		},
	}
}

// leased asks for an address as the client, which goes on with its own.
func leased() boottest.Check {
	return settles(matches("lease", "the client is offered an address, a router and a name server",
		asClient("dhcpcd --test --ipv4only --timeout 60 wlan1 2>&1 | grep -E '^(new_)?(ip_address|routers|domain_name_servers)=' | tr -d \"'\" | sed s/^new_// | sort -u"),
		`\Adomain_name_servers=`+cubeAddress+`\nip_address=10\.42\.24\.\d+\nrouters=`+cubeAddress+`\z`))
}

// inPihole is a command that can ask Pi-hole's API as its administrator:
// request PATH [OPTION…].
func inPihole(command string) string {
	return `set -e
url=http://127.0.0.1:6001/api
sid=$(` + postsJSON + `'{"password":"cubeos"}' $url/auth | jq --raw-output .session.sid)
request() { path=$1; shift; curl -fsS --max-time 60 -H "X-FTL-SID: $sid" -H 'Content-Type: application/json' "$@" "$url$path"; }
` + command
}
