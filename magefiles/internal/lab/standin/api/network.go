package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// The modes of the network.
const (
	offlineHotspot = "offline_hotspot"
	wifiRouter     = "wifi_router"
	wifiBridge     = "wifi_bridge"
	androidTether  = "android_tether"
	ethClient      = "eth_client"
	wifiClient     = "wifi_client"
)

func modes() []string {
	return []string{offlineHotspot, wifiRouter, wifiBridge, androidTether, ethClient, wifiClient}
}

func hasAccessPoint(mode string) bool { return mode != ethClient && mode != wifiClient }

func description(mode string) string {
	return map[string]string{
		offlineHotspot: "Air-gapped access point mode", wifiRouter: "AP + NAT via Ethernet uplink", wifiBridge: "AP + NAT via USB WiFi dongle",
		androidTether: "AP + NAT via Android USB tethering", ethClient: "No AP, direct Ethernet connection", wifiClient: "No AP, direct WiFi connection",
	}[mode]
}

func (s *Service) wan() string { return s.env.Or("CUBEOS_WAN_INTERFACE", "eth0") }

func (s *Service) getMode(w http.ResponseWriter, _ *http.Request) {
	mode := s.state.get().Mode
	service.JSON(w, http.StatusOK, map[string]string{"mode": mode, "description": description(mode)})
}

func (s *Service) setMode(w http.ResponseWriter, r *http.Request) {
	var request struct{ Mode, SSID, Password string }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, "Invalid request body")
		return
	}
	switch {
	case request.Mode == "":
		refuse(w, http.StatusBadRequest, "Network mode is required")
		return
	case !slices.Contains(modes(), request.Mode):
		refuse(w, http.StatusBadRequest, "Invalid network mode. Valid modes: "+strings.Join(modes(), ", "))
		return
	case (request.Mode == wifiBridge || request.Mode == wifiClient) && request.SSID == "":
		refuse(w, http.StatusBadRequest, "SSID is required for WiFi modes")
		return
	}
	if err := s.switchMode(r.Context(), request.Mode); err != nil {
		refuse(w, http.StatusInternalServerError, "network mode switch failed: workflow "+err.Error())
		return
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "message": "Network mode changed to " + request.Mode, "status": map[string]string{"mode": request.Mode}})
}

// switchMode makes HAL and Pi-hole do what a mode needs, and keeps the mode.
func (s *Service) switchMode(ctx context.Context, mode string) error {
	before := s.state.get().Mode
	if mode == wifiRouter || mode == ethClient {
		if _, err := s.hal.networkInterface(ctx, s.wan()); err != nil {
			return fmt.Errorf("ethernet interface %s not available: %w", s.wan(), err)
		}
	} else if mode != offlineHotspot {
		return fmt.Errorf("no WiFi client interface and no tethered phone here for %s", mode)
	}
	if before == wifiRouter {
		s.stopRouting(ctx)
	}
	if err := s.connect(ctx, mode, 30*time.Second); err != nil {
		return err
	}
	if hasAccessPoint(mode) != hasAccessPoint(before) {
		verb := map[bool]string{true: "start", false: "stop"}[hasAccessPoint(mode)]
		if err := s.hal.hostapd(ctx, verb); err != nil {
			log.Printf("ERR failed to %s AP: %v", verb, err)
		}
	}
	if mode == wifiRouter {
		if err := s.route(ctx); err != nil {
			return err
		}
	}
	s.configurePihole(ctx, mode)
	if err := s.netplan(ctx, mode); err != nil {
		log.Printf("ERR failed to write netplan via HAL: %v", err)
	}
	return s.state.change(func(d *data) error {
		d.Mode = mode
		return nil
	})
}

func (s *Service) route(ctx context.Context) error {
	if err := s.hal.post(ctx, "/firewall/forward/enable", nil); err != nil {
		return fmt.Errorf("failed to enable IP forwarding: %w", err)
	}
	if err := s.hal.post(ctx, "/firewall/nat/enable", map[string]string{"source": s.env.Or("SUBNET", "10.42.24.0/24"), "out_interface": s.wan()}); err != nil {
		return fmt.Errorf("failed to enable NAT: %w", err)
	}
	return nil
}

func (s *Service) stopRouting(ctx context.Context) {
	for _, path := range []string{"/firewall/nat/disable", "/firewall/forward/disable"} {
		if err := s.hal.post(ctx, path, nil); err != nil {
			log.Printf("WRN teardown: %v (non-fatal)", err)
		}
	}
}

// connect brings the uplink up. The API never sees the address that it waits for:
// HAL's answer about one interface has it under another name.
func (s *Service) connect(ctx context.Context, mode string, patience time.Duration) error {
	if mode == offlineHotspot {
		return nil
	}
	if err := s.hal.post(ctx, "/network/interface/"+s.wan()+"/up", nil); err != nil {
		return fmt.Errorf("failed to bring up ethernet: %w", err)
	}
	written := s.netplan(ctx, mode)
	if written != nil && mode == wifiRouter {
		return fmt.Errorf("failed to write/apply DHCP netplan on %s: %w", s.wan(), written)
	}
	if written == nil && s.addressed(ctx, patience) {
		return nil
	}
	log.Printf("WRN no address on %s", s.wan())
	if mode == wifiRouter {
		return nil
	}
	fallback := map[string]string{"interface": s.wan(), "ip": s.env.Or("CUBEOS_FALLBACK_IP", "192.168.1.242"), "gateway": s.env.Or("CUBEOS_FALLBACK_GATEWAY", "192.168.1.1")}
	if err := s.hal.post(ctx, "/network/ip/static", fallback); err != nil {
		return fmt.Errorf("failed to set fallback IP: %w", err)
	}
	return nil
}

func (s *Service) addressed(ctx context.Context, patience time.Duration) bool {
	const interval = 2 * time.Second
	for range patience / interval {
		if i, err := s.hal.networkInterface(ctx, s.wan()); err == nil && len(i.IPv4Addresses) > 0 {
			return true
		}
		if s.options.Sleep(ctx, interval) != nil {
			return false
		}
	}
	return false
}

// netplan has HAL write the mode's configuration for later boots, and apply it.
func (s *Service) netplan(ctx context.Context, mode string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# CubeOS netplan — %s mode\n# Auto-generated by CubeOS API — do not edit manually.\nnetwork:\n  version: 2\n  renderer: networkd\n  ethernets:\n    eth0:\n", mode)
	switch mode {
	case offlineHotspot:
		b.WriteString("      link-local: []\n      optional: true\n")
	case wifiRouter:
		fmt.Fprintf(&b, "      dhcp4: true\n      dhcp-identifier: mac\n      optional: true\n      dhcp4-overrides:\n        use-dns: false\n      nameservers:\n        addresses:\n          - %s\n", s.env["GATEWAY_IP"])
	default:
		b.WriteString("      dhcp4: true\n      dhcp-identifier: mac\n      optional: true\n")
	}
	if hasAccessPoint(mode) {
		fmt.Fprintf(&b, "    wlan0:\n      addresses:\n        - %s/24\n      link-local: []\n      optional: true\n", s.env["GATEWAY_IP"])
	}
	request := map[string]string{"yaml": b.String()}
	if mode != offlineHotspot {
		request["reconfigure_iface"] = s.wan()
	}
	return s.hal.post(ctx, "/network/netplan", request)
}

// tearDownAccessPoint ends with the wired network alone, and does not keep the
// mode: the next start has the old one.
func (s *Service) tearDownAccessPoint(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	if err := s.hal.hostapd(ctx, "stop"); err != nil {
		log.Printf("WRN failed to stop AP (may not be running): %v", err)
	}
	s.stopRouting(ctx)
	if err := s.connect(ctx, ethClient, 15*time.Second); err != nil {
		setupError(w, http.StatusInternalServerError, "AP teardown failed: "+err.Error())
		return
	}
	s.configurePihole(ctx, ethClient)
	if err := s.netplan(ctx, ethClient); err != nil {
		log.Printf("ERR %v", err)
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "message": "AP teardown complete, switched to Ethernet-only mode"})
}

func (s *Service) getAccessPoint(w http.ResponseWriter, _ *http.Request) {
	settings := s.state.get().Settings
	ssid := settings["ap_ssid"]
	if ssid == "" {
		ssid = "CubeOS"
	}
	service.JSON(w, http.StatusOK, map[string]any{"ssid": ssid, "channel": 7, "hidden": false})
}

// setAccessPoint writes the settings through the host's root directory, and
// succeeds also where that fails.
func (s *Service) setAccessPoint(w http.ResponseWriter, r *http.Request) {
	var request struct {
		SSID, Password string
		Channel        int
		Hidden         bool
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || request.SSID == "" {
		refuse(w, http.StatusBadRequest, "Invalid request body")
		return
	}
	if err := s.state.set(map[string]string{"ap_ssid": request.SSID}); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	path := s.hostRoot("etc/hostapd/hostapd.conf")
	if request.Password == "" {
		request.Password = s.files.get(path, "wpa_passphrase")
	}
	hidden := 0
	if request.Hidden {
		hidden = 1
	}
	text := fmt.Sprintf(`# CubeOS WiFi Access Point Configuration

interface=wlan0
driver=nl80211

ssid=%s

hw_mode=g
channel=%d
ieee80211n=1
ieee80211ac=0

wpa=2
wpa_passphrase=%s
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP

wmm_enabled=1
macaddr_acl=0
auth_algs=1
ignore_broadcast_ssid=%d
max_num_sta=32
`, request.SSID, request.Channel, request.Password, hidden)
	err := os.WriteFile(path, []byte(text), 0o600)
	if err == nil {
		err = s.hal.hostapd(r.Context(), "restart")
	}
	if err != nil {
		log.Printf("WRN failed to apply AP config live — will take effect on next boot: %v", err)
	}
	service.JSON(w, http.StatusOK, map[string]any{"success": true, "message": "AP configuration updated"})
}
