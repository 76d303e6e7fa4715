package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// setupConfig is what the wizard asks for.
type setupConfig struct {
	AdminUsername      string `json:"admin_username"`
	AdminPassword      string `json:"admin_password"`
	AdminEmail         string `json:"admin_email"`
	Hostname           string `json:"hostname"`
	DeviceName         string `json:"device_name"`
	WiFiSSID           string `json:"wifi_ssid"`
	WiFiPassword       string `json:"wifi_password"`
	WiFiChannel        int    `json:"wifi_channel"`
	CountryCode        string `json:"country_code"`
	Timezone           string `json:"timezone"`
	Language           string `json:"language"`
	Theme              string `json:"theme"`
	AccentColor        string `json:"accent_color"`
	DeploymentPurpose  string `json:"deployment_purpose"`
	BrandingMode       string `json:"branding_mode"`
	SSLMode            string `json:"ssl_mode"`
	NPMAdminEmail      string `json:"npm_admin_email"`
	NPMAdminPassword   string `json:"npm_admin_password"`
	EnableAnalytics    bool   `json:"enable_analytics"`
	EnableAutoUpdates  bool   `json:"enable_auto_updates"`
	EnableRemoteAccess bool   `json:"enable_remote_access"`
}

var (
	userName = regexp.MustCompile(`^[a-z][a-z0-9_-]{2,31}$`)
	hostName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
)

// problems are what is wrong, by the name of the field.
func (c setupConfig) problems() map[string]string {
	wrong := map[string]string{}
	switch {
	case c.AdminUsername == "":
		wrong["admin_username"] = "Username is required"
	case !userName.MatchString(c.AdminUsername):
		wrong["admin_username"] = "Username must be 3-32 lowercase letters, numbers, underscores, or hyphens"
	}
	switch {
	case c.AdminPassword == "":
		wrong["admin_password"] = "Password is required"
	case len(c.AdminPassword) < 8:
		wrong["admin_password"] = "Password must be at least 8 characters"
	}
	switch {
	case c.Hostname == "":
		wrong["hostname"] = "Hostname is required"
	case !hostName.MatchString(c.Hostname):
		wrong["hostname"] = "Hostname must be lowercase letters, numbers, and hyphens"
	}
	switch {
	case c.WiFiSSID == "":
		wrong["wifi_ssid"] = "WiFi SSID is required"
	case len(c.WiFiSSID) > 32:
		wrong["wifi_ssid"] = "SSID must be 32 characters or less"
	}
	if c.WiFiPassword != "" && len(c.WiFiPassword) < 8 {
		wrong["wifi_password"] = "WiFi password must be at least 8 characters"
	}
	return wrong
}

func (s *Service) wizard(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	const base = " /api/v1/setup/"
	mux.HandleFunc("GET"+base+"status", func(w http.ResponseWriter, _ *http.Request) { service.JSON(w, http.StatusOK, s.setupStatus()) })
	mux.HandleFunc("GET"+base+"defaults", func(w http.ResponseWriter, _ *http.Request) { service.JSON(w, http.StatusOK, s.defaults()) })
	mux.HandleFunc("GET"+base+"ethernet-status", s.ethernetStatus)
	mux.HandleFunc("POST"+base+"validate", s.validateSetup)
	mux.HandleFunc("POST"+base+"apply", s.applySetup(ctx))
	mux.HandleFunc("POST"+base+"skip", func(w http.ResponseWriter, _ *http.Request) {
		s.completeSetup(w, map[string]any{"success": true, "message": "Setup skipped, using default configuration", "skipped": true})
	})
	mux.HandleFunc("POST"+base+"complete", func(w http.ResponseWriter, _ *http.Request) {
		if s.state.get().Setup.Complete {
			service.JSON(w, http.StatusOK, map[string]any{"success": true, "already_complete": true, "message": "Setup was already complete"})
			return
		}
		s.completeSetup(w, map[string]any{"success": true, "message": "Setup marked as complete"})
	})
	mux.HandleFunc("POST"+base+"reset", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.resetSetup(); err != nil {
			setupError(w, http.StatusInternalServerError, err.Error())
			return
		}
		service.JSON(w, http.StatusOK, map[string]any{"success": true, "message": "Setup has been reset"})
	})
	mux.HandleFunc("POST"+base+"ap-teardown", s.tearDownAccessPoint)
	return mux
}

func setupError(w http.ResponseWriter, status int, message string) {
	service.JSON(w, status, map[string]string{"error": message})
}

func (s *Service) setupStatus() map[string]any {
	setup := s.state.get().Setup
	_, err := os.Stat(s.path("/sys/class/net/wlan0"))
	return map[string]any{
		"is_complete": setup.Complete, "completed_at": setup.CompletedAt, "current_step": 0, "total_steps": 11,
		"completed_steps": nil, "skipped_steps": nil, "access_profile": "standard", "skip_ap_step": s.env["CUBEOS_TIER"] == "container" || err != nil,
	}
}

// defaults is what the wizard begins with, and what skipping it keeps.
func (s *Service) defaults() setupConfig {
	name := ""
	if s.env["CUBEOS_HOST_ROOT"] != "" {
		if data, err := os.ReadFile(s.hostRoot("etc/hostname")); err == nil {
			name = strings.TrimSpace(string(data))
		}
	}
	if name == "" {
		name, _ = os.Hostname()
	}
	return setupConfig{
		AdminUsername: "admin", Hostname: name, DeviceName: "CubeOS Server", WiFiSSID: "CubeOS", WiFiPassword: "cubeos1234", WiFiChannel: 6,
		CountryCode: "NL", Timezone: "UTC", Language: "en", Theme: "dark", AccentColor: "#60a5fa", DeploymentPurpose: "generic",
		BrandingMode: "cubeos", SSLMode: "none", EnableAutoUpdates: true,
	}
}

// ethernetStatus says that there is none also where HAL does not answer.
func (s *Service) ethernetStatus(w http.ResponseWriter, r *http.Request) {
	i, err := s.hal.networkInterface(r.Context(), "eth0")
	ip := ""
	if len(i.IPv4Addresses) > 0 {
		ip, _, _ = strings.Cut(i.IPv4Addresses[0], "/")
	}
	service.JSON(w, http.StatusOK, map[string]any{"available": err == nil, "carrier": i.IsUp, "ip": ip})
}

func (s *Service) validateSetup(w http.ResponseWriter, r *http.Request) {
	var c setupConfig
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		setupError(w, http.StatusBadRequest, "invalid request body")
		return
	}
	wrong := c.problems()
	service.JSON(w, http.StatusOK, map[string]any{"valid": len(wrong) == 0, "errors": wrong})
}

func (s *Service) completeSetup(w http.ResponseWriter, answer map[string]any) {
	if err := s.complete(s.defaults()); err != nil {
		setupError(w, http.StatusInternalServerError, err.Error())
		return
	}
	service.JSON(w, http.StatusOK, answer)
}

// complete marks the wizard as done, for itself and for the boot scripts.
func (s *Service) complete(c setupConfig) error {
	err := s.state.change(func(d *data) error {
		d.Setup.Complete, d.Setup.CompletedAt, d.Setup.Config = true, time.Now().UTC().Format(time.RFC3339), &c
		return nil
	})
	return errors.Join(err, s.markSetUp())
}

func (s *Service) flag() string { return filepath.Join(s.dataDir(), ".setup_complete") }

// markSetUp makes the file that says so, where the wizard is done.
func (s *Service) markSetUp() error {
	if !s.state.get().Setup.Complete {
		return nil
	}
	return os.WriteFile(s.flag(), []byte("complete\n"), 0o644)
}

// resetSetup leaves the file for the boot scripts.
func (s *Service) resetSetup() error {
	return s.state.change(func(d *data) error {
		d.Setup.Complete, d.Setup.CompletedAt, d.Setup.Config = false, "", nil
		return nil
	})
}

// workflow is what is applied. It is kept before each step, so that the next
// start knows of one that a power cut has ended.
type workflow struct {
	Config  setupConfig `json:"config"`
	Step    int         `json:"step"`
	Hostapd string      `json:"hostapd,omitempty"` // the access point's settings as they were
}

type step struct {
	name string
	run  func(ctx context.Context, s *Service, w *workflow) error
}

// steps are those of apply, in their order.
func steps() []step {
	return []step{
		{"validate", func(_ context.Context, _ *Service, w *workflow) error {
			wrong := w.Config.problems()
			if len(wrong) == 0 {
				return nil
			}
			var list []string
			for _, field := range slices.Sorted(maps.Keys(wrong)) {
				list = append(list, field+": "+wrong[field])
			}
			return permanent{fmt.Errorf("validation failed: %s", strings.Join(list, "; "))}
		}},
		{"create_admin", func(_ context.Context, s *Service, w *workflow) error {
			return s.setAccount(w.Config.AdminUsername, w.Config.AdminPassword, "admin", w.Config.AdminEmail)
		}},
		{"set_hostname", func(ctx context.Context, s *Service, w *workflow) error { return s.setHostname(ctx, w.Config.Hostname) }},
		{configureWiFi, func(ctx context.Context, s *Service, w *workflow) error { return s.configureWiFi(ctx, w) }},
		{"configure_system", func(_ context.Context, s *Service, w *workflow) error { return s.configureSystem(w.Config) }},
		{"sync_passwords", func(context.Context, *Service, *workflow) error { return nil }}, // see apply
		{"verify_dhcp", func(ctx context.Context, s *Service, _ *workflow) error {
			if s.env["CUBEOS_TIER"] == "container" {
				return nil
			}
			if err := s.reconcileDHCP(ctx); err != nil {
				return fmt.Errorf("DHCP verification failed: %w", err)
			}
			return nil
		}},
		{"verify_dns", func(ctx context.Context, s *Service, _ *workflow) error {
			if s.env["CUBEOS_TIER"] == "container" {
				return nil
			}
			return s.pihole.verifyName(ctx)
		}},
		{"mark_complete", func(_ context.Context, s *Service, w *workflow) error { return s.complete(w.Config) }},
	}
}

const configureWiFi = "configure_wifi"

// permanent is an error that another attempt does not help with.
type permanent struct{ error }

// applySetup begins to apply, and waits for the end as long as the request lives.
// What has begun goes on without it.
func (s *Service) applySetup(ctx context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var c setupConfig
		if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
			setupError(w, http.StatusBadRequest, "invalid request body")
			return
		}
		err := s.state.change(func(d *data) error {
			if d.Setup.Workflow != nil {
				return errors.New("duplicate workflow: an active workflow with the same type and external ID already exists")
			}
			d.Setup.Workflow = &workflow{Config: c}
			return nil
		})
		if err != nil {
			setupError(w, http.StatusInternalServerError, err.Error())
			return
		}
		ended := make(chan error, 1)
		go func() { ended <- s.apply(ctx) }()
		select {
		case err = <-ended:
		case <-r.Context().Done():
			err = r.Context().Err()
		}
		if err != nil {
			setupError(w, http.StatusInternalServerError, "setup failed: "+err.Error())
			return
		}
		service.JSON(w, http.StatusOK, map[string]any{"success": true, "message": "Setup completed successfully", "status": s.setupStatus()})
	}
}

// recoverSetup gives up what was applied when the power went: a step that had
// begun can not begin again, and counts as failed.
func (s *Service) recoverSetup(ctx context.Context) error {
	w := s.state.get().Setup.Workflow
	if w == nil {
		return nil
	}
	log.Printf("ERR FlowEngine: first_boot_setup: step status transition denied: step=%s expected=pending", steps()[w.Step].name)
	s.undo(ctx, *w)
	return s.keepWorkflow(nil)
}

// apply does one step after the other. If one fails, what had begun is undone as
// far as that goes, and the wizard can be tried again.
func (s *Service) apply(ctx context.Context) error {
	w := *s.state.get().Setup.Workflow
	for all := steps(); w.Step < len(all); w.Step++ {
		if err := s.keepWorkflow(&w); err != nil {
			return err
		}
		current := all[w.Step]
		if current.name == "sync_passwords" {
			s.syncPasswords(ctx, w.Config.AdminPassword, syncAttempts)
		}
		if err := s.attempt(ctx, func() error { return current.run(ctx, s, &w) }); err != nil {
			if ctx.Err() != nil {
				return ctx.Err() // as in a power cut
			}
			s.undo(ctx, w)
			return errors.Join(fmt.Errorf("workflow %w", err), s.keepWorkflow(nil))
		}
	}
	return s.keepWorkflow(nil)
}

func (s *Service) keepWorkflow(w *workflow) error {
	return s.state.change(func(d *data) error {
		d.Setup.Workflow = nil
		if w != nil {
			kept := *w
			d.Setup.Workflow = &kept
		}
		return nil
	})
}

func (s *Service) attempt(ctx context.Context, run func() error) error {
	const attempts = 3
	var last error
	for i := range attempts {
		if i > 0 {
			if err := s.options.Sleep(ctx, time.Duration(i)*time.Second); err != nil {
				return err
			}
		}
		if last = run(); last == nil {
			return nil
		}
		if _, ok := errors.AsType[permanent](last); ok {
			return fmt.Errorf("permanent: %w", last)
		}
	}
	return fmt.Errorf("exhausted %d attempts: transient: %w", attempts, last)
}

// undo gives the access point back its settings. The account, the host's name and
// the passwords stay as they are.
func (s *Service) undo(ctx context.Context, w workflow) {
	at := slices.IndexFunc(steps(), func(step step) bool { return step.name == configureWiFi })
	if w.Step <= at || w.Hostapd == "" {
		return
	}
	if err := s.writeHostapd(w.Hostapd); err != nil {
		log.Printf("ERR restore_wifi: %v", err)
		return
	}
	if err := s.hal.hostapd(ctx, "restart"); err != nil {
		log.Printf("WRN restore_wifi: %v", err)
	}
}

// setHostname never fails: where the host's files can not be written, it takes
// the container's.
func (s *Service) setHostname(ctx context.Context, name string) error {
	if err := os.WriteFile(s.hostRoot("etc/hostname"), []byte(name+"\n"), 0o644); err != nil {
		log.Printf("WRN failed to write host /etc/hostname via host-root, trying container paths: %v", err)
		if err := os.WriteFile(s.path("/etc/hostname"), []byte(name+"\n"), 0o644); err != nil {
			log.Printf("WRN %v", err)
		}
	}
	if hosts, err := os.ReadFile(s.hostRoot("etc/hosts")); err == nil {
		lines := strings.Split(string(hosts), "\n")
		for i, line := range lines {
			if strings.Contains(line, "127.0.1.1") {
				lines[i] = "127.0.1.1\t" + name
			}
		}
		if err := os.WriteFile(s.hostRoot("etc/hosts"), []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			log.Printf("WRN %v", err)
		}
	}
	if err := s.hal.post(ctx, "/system/hostname", map[string]string{"hostname": name}); err != nil {
		log.Printf("WRN HAL SetHostname failed — hostname will apply on reboot: %v", err)
	}
	return s.state.set(map[string]string{"hostname": name})
}

const (
	hostapdConf     = "/etc/hostapd/hostapd.conf"
	hostapdFallback = "/cubeos/config/hostapd.conf"
)

// writeHostapd says nothing of it where the file is one that nobody reads.
func (s *Service) writeHostapd(text string) error {
	if err := os.WriteFile(s.path(hostapdConf), []byte(text), 0o600); err != nil {
		log.Printf("WRN failed to write hostapd.conf, trying config dir: %v", err)
		return os.WriteFile(s.path(hostapdFallback), []byte(text), 0o600)
	}
	return nil
}

// configureWiFi leaves the access point alone where no password is given.
func (s *Service) configureWiFi(ctx context.Context, w *workflow) error {
	for _, path := range []string{hostapdConf, hostapdFallback} {
		if text, err := os.ReadFile(s.path(path)); err == nil && w.Hostapd == "" {
			w.Hostapd = string(text)
		}
	}
	c := w.Config
	if c.WiFiPassword == "" {
		return nil
	}
	if c.CountryCode == "" {
		c.CountryCode = "NL"
	}
	if c.WiFiChannel == 0 {
		c.WiFiChannel = 6
	}
	if err := s.files.set(s.path(defaultsFile), 0o600, map[string]string{"CUBEOS_COUNTRY_CODE": c.CountryCode}); err != nil {
		log.Printf("WRN %v", err)
	}
	text := fmt.Sprintf(`# CubeOS WiFi Access Point Configuration
interface=wlan0
driver=nl80211
ssid=%s
hw_mode=g
channel=%d
country_code=%s
wmm_enabled=0
macaddr_acl=0
auth_algs=1
ignore_broadcast_ssid=0
wpa=2
wpa_passphrase=%s
wpa_key_mgmt=WPA-PSK
wpa_pairwise=TKIP
rsn_pairwise=CCMP
`, c.WiFiSSID, c.WiFiChannel, c.CountryCode, c.WiFiPassword)
	if err := s.writeHostapd(text); err != nil {
		log.Printf("WRN %v", err)
	}
	if err := s.hal.hostapd(ctx, "restart"); err != nil {
		log.Printf("WRN HAL hostapd restart failed — AP may need manual restart: %v", err)
	}
	return s.state.set(map[string]string{"wifi_ssid": c.WiFiSSID, "country_code": c.CountryCode})
}

func (s *Service) configureSystem(c setupConfig) error {
	if c.Timezone == "" {
		c.Timezone = "UTC"
	}
	for _, path := range []string{s.hostRoot("etc/timezone"), s.path("/etc/timezone")} {
		if err := os.WriteFile(path, []byte(c.Timezone+"\n"), 0o644); err != nil {
			log.Printf("WRN %v", err)
		}
	}
	for _, path := range []string{s.hostRoot("etc/localtime"), s.path("/etc/localtime")} {
		err := os.Remove(path)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			err = os.Symlink("/usr/share/zoneinfo/"+c.Timezone, path)
		}
		if err != nil {
			log.Printf("WRN %v", err)
		}
	}
	for name, value := range map[string]map[string]string{
		"preferences.json": {"theme": c.Theme, "accent_color": c.AccentColor},
		"branding.json":    {"purpose": c.DeploymentPurpose, "branding": c.BrandingMode},
	} {
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.path("/cubeos/config/"+name), text, 0o644); err != nil {
			log.Printf("WRN %v", err)
		}
	}
	if c.NPMAdminEmail != "" && c.NPMAdminPassword != "" {
		text := fmt.Sprintf("# Nginx Proxy Manager - CubeOS Core App\n# Generated by Setup Wizard\n\nTZ=%s\n\nNPM_ADMIN_EMAIL=%s\nNPM_ADMIN_PASSWORD=%s\n", c.Timezone, c.NPMAdminEmail, c.NPMAdminPassword)
		err := os.WriteFile(s.path("/cubeos/coreapps/npm/.env"), []byte(text), 0o600)
		err = errors.Join(err, s.files.set(s.path(secretsFile), 0o600, map[string]string{"CUBEOS_NPM_EMAIL": c.NPMAdminEmail, "CUBEOS_NPM_PASSWORD": c.NPMAdminPassword}))
		if err != nil {
			log.Printf("WRN NPM configuration failed (non-fatal): %v", err)
		}
	}
	return s.state.set(map[string]string{"timezone": c.Timezone})
}

// syncAttempts is how often the wizard tries to hand a password on.
const syncAttempts = 6

// syncPasswords hands the administrator's password on to Pi-hole and to the proxy
// manager, in the background.
func (s *Service) syncPasswords(ctx context.Context, password string, attempts int) {
	for name, sync := range map[string]func(context.Context, string) error{"pihole": s.setPiholePassword, "npm": s.npm.setAdminPassword} {
		go func() {
			for i := range attempts {
				err := sync(ctx, password)
				if err == nil {
					return
				}
				log.Printf("WRN %s password sync attempt=%d: %v", name, i+1, err)
				if s.options.Sleep(ctx, time.Duration(i+1)*5*time.Second) != nil {
					return
				}
			}
		}()
	}
}

// setPiholePassword writes the password where the container is made from, and
// asks HAL to make it again. That fails; what is written stays.
func (s *Service) setPiholePassword(ctx context.Context, password string) error {
	if err := s.files.set(s.path("/cubeos/coreapps/pihole/appconfig/.env"), 0o640, map[string]string{"PIHOLE_PASSWORD": password}); err != nil {
		return fmt.Errorf("failed to update pihole .env: %w", err)
	}
	if err := s.files.set(s.path(secretsFile), 0o640, map[string]string{"CUBEOS_PIHOLE_PASSWORD": password}); err != nil {
		log.Printf("WRN failed to update secrets.env: %v", err)
	}
	if err := s.hal.recreatePihole(ctx); err != nil {
		return fmt.Errorf("recreate: %w", err)
	}
	return nil
}

// syncPasswordsAgain does so at a start, where the wizard's password is not the
// others' yet.
func (s *Service) syncPasswordsAgain(ctx context.Context) {
	setup := s.state.get().Setup
	if !setup.Complete || setup.Config == nil || setup.Config.AdminPassword == "" || s.options.Sleep(ctx, 10*time.Second) != nil {
		return
	}
	password := setup.Config.AdminPassword
	if _, err := piholeLogIn(ctx, s.pihole.url(), password); err == nil && s.files.get(s.path(secretsFile), "CUBEOS_NPM_PASSWORD") == password {
		return
	}
	s.syncPasswords(ctx, password, syncAttempts)
}
