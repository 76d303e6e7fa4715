package services

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const repo = "../../../.."

func read(t *testing.T) List {
	t.Helper()
	l, err := Read(repo)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestEveryServiceHasItsComposeFile(t *testing.T) {
	if err := read(t).CheckFiles(repo); err != nil {
		t.Error(err)
	}
}

func TestComposeFilesThatAreMissingOrTooMany(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, apps), os.DirFS(filepath.Join(repo, apps))); err != nil {
		t.Fatal(err)
	}
	all := read(t)
	for _, change := range []error{
		os.Remove(filepath.Join(root, apps, "npm", composed)),
		os.Truncate(filepath.Join(root, apps, "pihole", composed), 0),
		os.Rename(filepath.Join(root, apps, "cubeos-api"), filepath.Join(root, apps, "api")),
	} {
		if change != nil {
			t.Fatal(change)
		}
	}
	err := all.CheckFiles(root)
	for _, want := range []string{
		"coreapps/npm/appconfig/docker-compose.yml is missing or empty",
		"coreapps/pihole/appconfig/docker-compose.yml is missing or empty",
		"coreapps/cubeos-api/appconfig/docker-compose.yml is missing or empty",
		"coreapps/api is of no service: " + File + " does not list api",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != 3 {
		t.Errorf("%d problems, want 4:\n%v", n+1, err)
	}
}

func TestAProfileHasTheOptionalServicesItNames(t *testing.T) {
	all := read(t)
	usual, err := all.For(nil)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(usual.Names(), "registry") {
		t.Error("an optional service is in a profile that does not ask for it")
	}
	with, err := all.For([]string{"registry"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(usual.Names(), "registry"), with.Names()); diff != "" {
		t.Error(diff)
	}
	for _, wrong := range [][]string{{"pihole"}, {"nosuch"}, {"registry", "registry"}} {
		if _, err := all.For(wrong); err == nil || !strings.Contains(err.Error(), wrong[0]) {
			t.Errorf("%q: got %v", wrong, err)
		}
	}
}

func TestBadRowsAreRefusedAllAtOnce(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, File)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	good := func() Service {
		return Service{
			Name: "one", Title: "One", Kind: Stack, HTTP: HTTP{Port: 1, Health: "/", Names: []string{"one.{domain}"}},
			Ports: []Port{{Port: 1, Protocols: []string{"tcp"}, Reach: Network, About: "page"}},
		}
	}
	for _, tt := range []struct {
		name string
		edit func(*Service)
		want string
	}{
		{"name", func(s *Service) { s.Name = "One_" }, "a-z"},
		{"title", func(s *Service) { s.Title = "" }, "title"},
		{"kind", func(s *Service) { s.Kind = "pod" }, `"pod"`},
		{"order", func(s *Service) { s.Kind = Compose }, "before the stacks"},
		{"no port", func(s *Service) { s.Ports = nil }, "http.port 2"},
		{"UDP only", func(s *Service) { s.Ports[0].Protocols = []string{"udp"} }, "http.port 2"},
		{"port", func(s *Service) { s.Ports[0].Port = 65536 }, "65536"},
		{"target", func(s *Service) { s.Ports[0].Target = -1 }, "-1"},
		{"protocol", func(s *Service) { s.Ports[0].Protocols = []string{"sctp"} }, "sctp"},
		{"no protocol", func(s *Service) { s.Ports[0].Protocols = nil }, "no protocol"},
		{"reach", func(s *Service) { s.Ports[0].Reach = "moon" }, "moon"},
		{"published to the device only", func(s *Service) { s.Ports[0].Target, s.Ports[0].Reach = 80, Device }, "every address"},
		{"published and blocked", func(s *Service) { s.Ports[0].Target, s.Ports[0].Reach = 80, Blocked }, "past our firewall"},
		{"about", func(s *Service) { s.Ports[0].About = "" }, "what it is for"},
		{"path", func(s *Service) { s.HTTP.Health = "health" }, `"health"`},
		{"host", func(s *Service) { s.HTTP.Names = []string{"cubeos.cube"} }, "cubeos.cube"},
		{"same name", func(s *Service) { s.Name = "one" }, "the name one is one's, too"},
		{"same host", func(s *Service) { s.HTTP.Names = []string{"one.{domain}"} }, "one.{domain} is one's, too"},
		{"same port", func(s *Service) { s.Ports[0].Port, s.HTTP.Port = 1, 1 }, "port 1/tcp is one's, too"},
	} {
		second := good()
		second.Name, second.HTTP = "two", HTTP{Port: 2, Health: "/"}
		second.Ports[0].Port = 2
		tt.edit(&second)
		third := Service{Name: "three"}
		data, err := json.Marshal(map[string]List{"services": {good(), second, third}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = Read(root)
		for _, want := range []string{tt.want, path, `service 3, "three": it has no title`} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", tt.name, err, want)
			}
		}
	}
	for content, want := range map[string]string{`{"services": []}`: "no service", `{"services": [{"label": "x"}]}`: "label", `{`: "EOF"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
}
