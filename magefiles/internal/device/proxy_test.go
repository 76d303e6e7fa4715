package device

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/npm"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/standintest"
)

// proxyManager runs the lab's stand-in for Nginx Proxy Manager and returns the
// address of its administration.
func proxyManager(t *testing.T, password string) (url string) {
	t.Helper()
	root := standintest.NewRoot(t, map[string]string{"data/": "", "etc/letsencrypt/": "", "etc/resolv.conf": "nameserver 127.0.0.1\n"})
	addrs := standintest.Addrs(t, 4)
	standintest.Run(t, npm.New(
		service.Env{"INITIAL_ADMIN_EMAIL": "api@cubeos.cube", "INITIAL_ADMIN_PASSWORD": password, "IP_RANGES_FETCH_ENABLED": "false"},
		npm.Options{Root: root.Dir, Admin: addrs[0], HTTP: addrs[1], HTTPS: addrs[2], Backend: addrs[3]}))
	return "http://" + addrs[0]
}

func TestProxyHosts(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	if err := os.Remove(filepath.Join(d.bin, "curl")); err != nil { // the real one
		t.Fatal(err)
	}
	const secret = "0123456789abcdef"
	d.write(secretsFile, "NPM_API_PASSWORD="+secret+"\n")
	url := proxyManager(t, secret)
	run := func() (string, error) {
		return d.script("cubeos-proxy-hosts.sh", nil, "CUBEOS_NPM_URL="+url)
	}

	out, err := run()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, s := range list() {
		for _, name := range s.HTTP.Names {
			name = strings.NewReplacer("{domain}", "cubeos.cube", "{address}", "10.42.24.1").Replace(name)
			if want := fmt.Sprintf("http://%s leads to port %d\n", name, s.HTTP.Port); !strings.Contains(out, want) {
				t.Errorf("it does not say %q:\n%s", want, out)
			}
		}
	}
	if out, err := run(); err != nil || out != "" {
		t.Errorf("the second time: %v\n%s", err, out)
	}

	d.write(secretsFile, "NPM_API_PASSWORD=other\n")
	if out, err := run(); err == nil || !strings.Contains(out, "does not let in api@cubeos.cube: Invalid email or password") {
		t.Errorf("with another password: %v\n%s", err, out)
	}
	url = "http://127.0.0.1:1"
	if out, err := run(); err == nil || !strings.Contains(out, "does not let in api@cubeos.cube: ") {
		t.Errorf("with nobody there: %v\n%s", err, out)
	}
}

func TestNPMAccount(t *testing.T) {
	t.Parallel()
	const account, admin = "npm-users/api@cubeos.cube", "npm-users/admin@cubeos.cube"
	booted := newFake(t)
	booted.mustBoot()
	booted.effects()
	for name, tt := range map[string]struct {
		change func(d *fake)
		want   []string
		says   string
		fails  bool
	}{
		"there":           {func(*fake) {}, nil, "", false},
		"missing":         {func(d *fake) { d.unstub(account) }, []string{"npm user api@cubeos.cube"}, "api@cubeos.cube administers", false},
		"other password":  {func(d *fake) { d.stubFile(account, "other") }, []string{"npm password api@cubeos.cube"}, "api@cubeos.cube administers", false},
		"owner's changed": {func(d *fake) { d.stubFile(admin, "other") }, nil, "", false},
		"nobody let in": {
			func(d *fake) { d.stubFile(admin, "other"); d.unstub(account) }, nil,
			"lets in neither api@cubeos.cube nor admin@cubeos.cube (Invalid email or password): if the password was changed there, change CUBEOS_NPM_PASSWORD", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := booted.clone(t)
			tt.change(d)
			out, err := d.script("cubeos-npm-account.sh", nil)
			if (err != nil) != tt.fails || !strings.Contains(out, tt.says) || tt.says == "" && out != "" {
				t.Errorf("%v\n%s\nwant it to say %q", err, out, tt.says)
			}
			if diff := cmp.Diff(tt.want, d.effects()); diff != "" {
				t.Errorf("effects (-want +got):\n%s", diff)
			}
			if password := d.settings(secretsFile)["NPM_API_PASSWORD"]; !tt.fails && d.stubbed(account) != password {
				t.Errorf("the account's password is %q, want %q", d.stubbed(account), password)
			}
			// A device in use comes up without it.
			if out, err := d.boot(); err != nil || tt.fails && !strings.Contains(out, "WARNING: the API can not administer Nginx Proxy Manager") {
				t.Errorf("the next boot: %v\n%s", err, out)
			}
		})
	}
}

// TestRejectedProxyHost is about a host that nginx does not take: the answer to the
// request says that all is well.
func TestRejectedProxyHost(t *testing.T) {
	t.Parallel()
	d := newFake(t)
	d.stubFile("npm-rejects", "npm.cubeos.cube\n")
	const says = "ERROR: http://npm.cubeos.cube does not lead to its service: nginx rejects it: [emerg] no"
	again := []string{"proxy host again npm.cubeos.cube"}
	out, err := d.boot()
	if err == nil || !strings.Contains(out, says) || d.exists("var/lib/cubeos/first-boot-complete") {
		t.Errorf("the first boot: %v\n%s", err, out)
	}
	if got := d.effects(); !slices.Contains(got, again[0]) {
		t.Errorf("it was not tried again: %v", got)
	}
	if out, err := d.boot(); err == nil || !strings.Contains(out, says) {
		t.Errorf("the second boot: %v\n%s", err, out)
	}
	d.effects()
	d.unstub("npm-rejects")
	d.mustBoot()
	if diff := cmp.Diff(again, d.effects()); diff != "" {
		t.Errorf("the boot after nginx would take it (-want +got):\n%s", diff)
	}
	if d.mustBoot(); d.effects() != nil {
		t.Error("a host that nginx has taken was tried again")
	}

	// What its owner has disabled is not in force on purpose.
	d.stubFile("proxy-hosts/npm.cubeos.cube", `{"id": 1, "domain_names": ["npm.cubeos.cube"], "enabled": false, "meta": {"nginx_online": false}}`)
	if d.mustBoot(); d.effects() != nil {
		t.Error("a disabled host was tried again")
	}
}
