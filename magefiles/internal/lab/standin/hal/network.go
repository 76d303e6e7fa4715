package hal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

var interfaceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}$`)

// runOnHost runs a program of the host in the host's root directory.
func (s *Service) runOnHost(ctx context.Context, name string, args ...string) ([]byte, error) {
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
		if _, err := os.Stat(s.host(dir + "/" + name)); err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, dir+"/"+name, args...)
		cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.host("/")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return out, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
		}
		return out, nil
	}
	return nil, fmt.Errorf("the host has no %s", name)
}

func (s *Service) interfaces(w http.ResponseWriter, _ *http.Request) {
	all, err := net.Interfaces()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "failed to get interfaces")
		return
	}
	list := []map[string]any{}
	for _, i := range all {
		v4, v6 := []string{}, []string{}
		for _, prefix := range addresses(i) {
			if prefix.Addr().Is4() {
				v4 = append(v4, prefix.String())
			} else {
				v6 = append(v6, prefix.String())
			}
		}
		list = append(list, map[string]any{
			"name": i.Name, "is_up": i.Flags&net.FlagUp != 0, "mac_address": i.HardwareAddr.String(), "mtu": i.MTU,
			"ipv4_addresses": v4, "ipv6_addresses": v6, "is_wireless": strings.HasPrefix(i.Name, "wl"),
		})
	}
	service.JSON(w, http.StatusOK, map[string]any{"interfaces": list})
}

func addresses(i net.Interface) []netip.Prefix {
	var prefixes []netip.Prefix
	addrs, err := i.Addrs()
	if err != nil {
		return nil // the interface has gone
	}
	for _, addr := range addrs {
		if prefix, err := netip.ParsePrefix(addr.String()); err == nil {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// oneInterface answers in the words of `ip -json`, which are not those of the
// list, and not those that the API looks for.
func (s *Service) oneInterface(w http.ResponseWriter, r *http.Request) {
	i, err := net.InterfaceByName(r.PathValue("name"))
	if err != nil {
		refuse(w, http.StatusNotFound, "interface not found")
		return
	}
	var info []map[string]any
	for _, prefix := range addresses(*i) {
		family := "inet"
		if prefix.Addr().Is6() {
			family = "inet6"
		}
		info = append(info, map[string]any{"family": family, "local": prefix.Addr().String(), "prefixlen": prefix.Bits()})
	}
	service.JSON(w, http.StatusOK, map[string]any{"ifname": i.Name, "address": i.HardwareAddr.String(), "mtu": i.MTU, "flags": strings.Split(strings.ToUpper(i.Flags.String()), "|"), "addr_info": info})
}

func (s *Service) setInterface(w http.ResponseWriter, r *http.Request) {
	name, state := r.PathValue("name"), r.PathValue("state")
	if state != "up" && state != "down" || !interfaceName.MatchString(name) {
		refuse(w, http.StatusBadRequest, "invalid interface name")
		return
	}
	if _, err := s.options.Run(r.Context(), "ip", "link", "set", name, state); err != nil {
		log.Print(err)
		refuse(w, http.StatusInternalServerError, "bring interface "+state+" failed")
		return
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "interface": name, "state": state})
}

func (s *Service) setAddress(w http.ResponseWriter, r *http.Request) {
	var request struct{ Interface, IP, Gateway string }
	if !read(w, r, &request) {
		return
	}
	addr, err := netip.ParsePrefix(request.IP)
	if err != nil {
		var ip netip.Addr
		if ip, err = netip.ParseAddr(request.IP); err == nil {
			addr = netip.PrefixFrom(ip, 24)
		}
	}
	if err != nil || !interfaceName.MatchString(request.Interface) {
		refuse(w, http.StatusBadRequest, "invalid IP address or interface")
		return
	}
	_, err = s.options.Run(r.Context(), "ip", "addr", "replace", addr.String(), "dev", request.Interface)
	if err == nil && request.Gateway != "" {
		_, err = s.options.Run(r.Context(), "ip", "route", "replace", "default", "via", request.Gateway, "dev", request.Interface)
	}
	if err != nil {
		log.Print(err)
		refuse(w, http.StatusInternalServerError, "set static IP failed")
		return
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "interface": request.Interface, "ip": request.IP, "gateway": request.Gateway})
}

func (s *Service) writeNetplan(w http.ResponseWriter, r *http.Request) {
	var request struct {
		YAML             string `json:"yaml"`
		ReconfigureIface string `json:"reconfigure_iface"`
	}
	if !read(w, r, &request) {
		return
	}
	switch {
	case request.YAML == "":
		refuse(w, http.StatusBadRequest, "yaml content is required")
		return
	case !strings.Contains(request.YAML, "network:") || !strings.Contains(request.YAML, "version: 2"):
		refuse(w, http.StatusBadRequest, "invalid netplan YAML: must contain 'network:' and 'version: 2'")
		return
	case request.ReconfigureIface != "" && !interfaceName.MatchString(request.ReconfigureIface):
		refuse(w, http.StatusBadRequest, "invalid interface name")
		return
	}
	if err := os.WriteFile(s.host("/etc/netplan/01-cubeos.yaml"), []byte(request.YAML), 0o644); err != nil {
		log.Print(err)
		refuse(w, http.StatusInternalServerError, "write netplan failed")
		return
	}
	// That these fail is not told: the file is there, and lasts.
	if _, err := s.options.Run(r.Context(), "netplan", "apply"); err != nil {
		log.Print(err)
	}
	if request.ReconfigureIface != "" {
		if _, err := s.options.Run(r.Context(), "networkctl", "reconfigure", request.ReconfigureIface); err != nil {
			log.Print(err)
		}
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "message": "netplan written and applied", "reloaded": true, "reconfigured": request.ReconfigureIface})
}

// clients are those to whom Pi-hole has given an address.
func (s *Service) clients(w http.ResponseWriter, _ *http.Request) {
	clients := []map[string]any{}
	for _, path := range []string{"/etc/pihole/dhcp.leases", "/cubeos/coreapps/pihole/appdata/etc-pihole/dhcp.leases"} {
		data, err := os.ReadFile(s.path(path))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); len(fields) >= 4 {
				clients = append(clients, map[string]any{"mac_address": fields[1], "ip_address": fields[2], "hostname": strings.TrimPrefix(fields[3], "*")})
			}
		}
		break
	}
	service.JSON(w, http.StatusOK, map[string]any{"clients": clients, "count": len(clients)})
}

func (s *Service) iptables(w http.ResponseWriter, r *http.Request, what string, args ...string) (string, bool) {
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	out, err := s.options.Run(ctx, "iptables", args...)
	if err != nil {
		log.Print(err)
		refuse(w, http.StatusInternalServerError, what+" failed")
	}
	return string(out), err == nil
}

func (s *Service) natStatus(w http.ResponseWriter, r *http.Request) {
	if out, ok := s.iptables(w, r, "get NAT rules", "-t", "nat", "-S", "POSTROUTING"); ok {
		service.JSON(w, http.StatusOK, map[string]any{"enabled": strings.Contains(out, "MASQUERADE")})
	}
}

func (s *Service) enableNAT(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Source       string `json:"source"`
		OutInterface string `json:"out_interface"`
	}
	if r.ContentLength != 0 && !read(w, r, &request) {
		return
	}
	if request.Source == "" {
		request.Source = "10.42.24.0/24"
	}
	if request.OutInterface == "" {
		request.OutInterface = "eth0"
	}
	if _, err := netip.ParsePrefix(request.Source); err != nil {
		refuse(w, http.StatusBadRequest, "invalid NAT source")
		return
	}
	if !interfaceName.MatchString(request.OutInterface) {
		refuse(w, http.StatusBadRequest, "invalid output interface")
		return
	}
	sources := []string{request.Source}
	bridges, err := net.Interfaces()
	if err != nil {
		log.Print(err)
	}
	for _, i := range bridges {
		if !strings.HasPrefix(i.Name, "docker") && !strings.HasPrefix(i.Name, "br-") {
			continue
		}
		for _, prefix := range addresses(i) {
			if prefix.Addr().Is4() && prefix.Masked().String() != request.Source {
				sources = append(sources, prefix.Masked().String())
			}
		}
	}
	// The rules are added also where they are already.
	for _, source := range sources {
		if _, ok := s.iptables(w, r, "enable NAT", "-t", "nat", "-A", "POSTROUTING", "-s", source, "-o", request.OutInterface, "-j", "MASQUERADE"); !ok {
			return
		}
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "source": request.Source, "out_interface": request.OutInterface, "docker_bridge_nat": sources[1:]})
}

// disableNAT flushes the chain, with whatever others have put into it.
func (s *Service) disableNAT(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.iptables(w, r, "disable NAT", "-t", "nat", "-F", "POSTROUTING"); ok {
		done(w, "NAT disabled")
	}
}

const ipForward = "/proc/sys/net/ipv4/ip_forward"

func (s *Service) forwarding(w http.ResponseWriter, _ *http.Request) {
	data, err := os.ReadFile(s.path(ipForward))
	if err != nil {
		refuse(w, http.StatusInternalServerError, "failed to read forwarding status")
		return
	}
	value := strings.TrimSpace(string(data))
	service.JSON(w, http.StatusOK, map[string]any{"enabled": value == "1", "value": value, "source": ipForward})
}

func (s *Service) setForwarding(w http.ResponseWriter, r *http.Request) {
	value, ok := map[string]string{"enable": "1", "disable": "0"}[r.PathValue("state")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	f, err := os.OpenFile(s.path(ipForward), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = io.WriteString(f, value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		log.Print(err)
		refuse(w, http.StatusInternalServerError, "failed to "+r.PathValue("state")+" forwarding")
		return
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "enabled": value == "1"})
}
