package hal

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// units are those that HAL starts and stops.
func units() []string {
	return []string{
		"pihole-FTL", "hostapd", "dnsmasq", "NetworkManager", "systemd-resolved", "systemd-timesyncd", "wpa_supplicant", "bluetooth", "gpsd",
		"ModemManager", "tor", "docker", "ssh", "avahi-daemon", "cron", "systemd-journald", "wg-quick@wg0", "wg-quick@wg1", "openvpn@client", "openvpn@server",
	}
}

// errNoManager is that systemd can not be asked.
var errNoManager = errors.New("failed to connect to system manager")

func (s *Service) unit(w http.ResponseWriter, r *http.Request) {
	unit, verb := r.PathValue("unit"), r.PathValue("verb")
	past, known := map[string]string{"start": "started", "stop": "stopped", "restart": "restarted"}[verb]
	switch {
	case verb == "recreate" && unit != "pihole":
		refuse(w, http.StatusForbidden, fmt.Sprintf("service %q is not in the compose recreate allowlist", unit))
		return
	case verb == "recreate": // `docker compose up -d`, without docker in the image
		refuse(w, http.StatusInternalServerError, "recreate compose service failed")
		return
	case !known:
		http.NotFound(w, r)
		return
	case !slices.Contains(units(), unit):
		refuse(w, http.StatusNotImplemented, "service not in allowlist: "+unit)
		return
	}
	err := s.options.Units(r.Context(), verb, unit+".service")
	switch {
	case errors.Is(err, errNoManager):
		log.Printf("%s %s: %v", verb, unit, err)
		refuse(w, http.StatusInternalServerError, errNoManager.Error())
	case err != nil:
		log.Printf("%s %s: %v", verb, unit, err)
		refuse(w, http.StatusInternalServerError, "failed to "+verb+" service")
	default:
		done(w, fmt.Sprintf("service %s.service %s", unit, past))
	}
}

// changeUnit asks systemd, at the address in DBUS_SYSTEM_BUS_ADDRESS, at
// /run/dbus/system_bus_socket or at its own socket.
func changeUnit(ctx context.Context, verb, unit string) error {
	conn, err := systemd.NewWithContext(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoManager, err)
	}
	defer conn.Close()
	call := map[string]func(context.Context, string, string, chan<- string) (int, error){
		"start": conn.StartUnitContext, "stop": conn.StopUnitContext, "restart": conn.RestartUnitContext,
	}[verb]
	result := make(chan string, 1)
	if _, err := call(ctx, unit, "replace", result); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case word := <-result:
		if word != "done" {
			return fmt.Errorf("systemd's job ended with %s", word)
		}
		return nil
	}
}

// setHostname has no effect on the host.
func (s *Service) setHostname(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Hostname string `json:"hostname"`
	}
	if !read(w, r, &request) {
		return
	}
	if request.Hostname == "" {
		refuse(w, http.StatusBadRequest, "hostname is required")
		return
	}
	if err := os.WriteFile(s.path("/etc/hostname"), []byte(request.Hostname+"\n"), 0o644); err != nil {
		log.Print(err)
		refuse(w, http.StatusInternalServerError, "failed to set hostname: "+err.Error())
		return
	}
	done(w, "hostname set to "+request.Hostname)
}

func (s *Service) operatingSystem(w http.ResponseWriter, _ *http.Request) {
	data, err := os.ReadFile(s.path("/host/etc/os-release"))
	if err != nil {
		data, err = os.ReadFile(s.path("/etc/os-release"))
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, "failed to read OS info")
		return
	}
	set := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		set[name] = strings.Trim(value, `"`)
	}
	service.JSON(w, http.StatusOK, map[string]string{"name": set["NAME"], "version": set["VERSION_ID"], "id": set["ID"], "pretty_name": set["PRETTY_NAME"]})
}
