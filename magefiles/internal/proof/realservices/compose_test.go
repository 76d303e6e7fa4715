package realservices

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

func TestEveryComposeFileIsUnderstood(t *testing.T) {
	const root = "../../../.."
	all, err := services.Read(root)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, name := range []string{
		"CUBEOS_ADDRESS", "CUBEOS_BRIDGE_ADDRESS", "CUBEOS_DOMAIN", "CUBEOS_NPM_EMAIL", "CUBEOS_PIHOLE_PASSWORD", "HAL_CORE_KEY", "NPM_INITIAL_PASSWORD", "PIHOLE_PASSWORD",
	} {
		env[name] = "value of " + name
	}
	for _, s := range all {
		image := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")) + "_IMAGE"
		if _, err := readSpec(t.Context(), root, s, env); err == nil || !strings.Contains(err.Error(), image) {
			t.Errorf("%s without an image: %v", s.Name, err)
		}
		env[image] = "registry.example/" + s.Name + ":1"
		got, err := readSpec(t.Context(), root, s, env)
		if err != nil {
			t.Error(err)
		}
		if got.Image != env[image] || got.HostNetwork != (s.WebPort().Target == 0) {
			t.Errorf("%s: %+v", s.Name, got)
		}
	}
}

func TestSpec(t *testing.T) {
	const file = `
services:
  one:
    image: ${ONE_IMAGE:?}
    container_name: cubeos-one
    restart: unless-stopped
    network_mode: host
    pid: host
    privileged: true
    dns: [127.0.0.1]
    cap_add: [NET_RAW]
    environment: {B: "${B_VALUE:-none}", A: "1"}
    secrets: [{source: key, target: file}]
    volumes:
      - ../appdata:/data
      - /sys:/sys:ro
      - {type: bind, source: /, target: /host-root, bind: {propagation: rslave}}
secrets: {key: {external: true}}
`
	service := services.Service{Name: "one"}
	read := func(text string) (spec, error) {
		root := t.TempDir()
		path := filepath.Join(root, services.RootFS, service.ComposeFile())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return readSpec(t.Context(), root, service, map[string]string{"ONE_IMAGE": "one:1"})
	}
	want := spec{
		Image: "one:1", Environment: []string{"A=1", "B=none"}, HostNetwork: true, HostPID: true, Privileged: true,
		Caps: []string{"NET_RAW"}, DNS: []string{"127.0.0.1"},
		Mounts: []bind{
			{Source: "/cubeos/coreapps/one/appdata", Target: "/data"},
			{Source: "/sys", Target: "/sys", ReadOnly: true},
			{Source: "/", Target: "/host-root"},
		},
		Secrets: []secret{{Name: "key", Target: "file"}},
	}
	got, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for added, says := range map[string]string{
		"    user: nobody\n":             "user: comparing",
		"    command: [serve]\n":         "command: comparing",
		"    pid: container:other\n":     "pid",
		"    network_mode: none\n":       "network_mode: comparing",
		"    tmpfs: [/run]\n":            "tmpfs: comparing",
		"  two: {image: two:1}\n":        "one, two",
		"    sysctls: {net.core.x: 1}\n": "sysctls: comparing",
	} {
		key, _, _ := strings.Cut(added, ":")
		lines := slices.DeleteFunc(strings.SplitAfter(file, "\n"), func(l string) bool { return strings.HasPrefix(l, key+":") })
		text := strings.Replace(strings.Join(lines, ""), "    cap_add", added+"    cap_add", 1)
		if strings.HasPrefix(added, "  two") {
			text = strings.Replace(file, "secrets: {key", added+"secrets: {key", 1)
		}
		if got, err := read(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %+v, %v; want %q", added, got, err, says)
		}
	}
}
