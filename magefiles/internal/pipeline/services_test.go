package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
)

// checkout is a copy of what a recipe and its services are read from.
type checkout struct {
	t    *testing.T
	root string
}

func newCheckout(t *testing.T) checkout {
	t.Helper()
	c := checkout{t, t.TempDir()}
	for _, dir := range []string{"packer", "skopeo", "configs/rootfs/cubeos/coreapps", filepath.Dir(services.File)} {
		if err := os.CopyFS(filepath.Join(c.root, dir), os.DirFS(filepath.Join("../../..", dir))); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// edit changes a file, which need not be there before.
func (c checkout) edit(name string, change func(string) string) {
	c.t.Helper()
	path := filepath.Join(c.root, name)
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(data))), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c checkout) add(s services.Service) {
	c.t.Helper()
	c.edit(services.File, func(old string) string {
		var file struct {
			Services services.List `json:"services"`
		}
		if err := json.Unmarshal([]byte(old), &file); err != nil {
			c.t.Fatal(err)
		}
		file.Services = append(file.Services, s)
		changed, err := json.Marshal(file)
		if err != nil {
			c.t.Fatal(err)
		}
		return string(changed)
	})
}

func (c checkout) services(profile string) (services.List, error) {
	c.t.Helper()
	r, err := recipe.LoadProfile(c.root, profile, map[string]string{"version": "1.2.3"})
	if err != nil {
		c.t.Fatal(err)
	}
	return profileServices(c.root, r, r.Variables().String("container_source") == "stand-ins")
}

func appends(text string) func(string) string {
	return func(old string) string { return old + text }
}

// TestAnotherServiceNeedsItsParts adds a row to the list and wants to be told of
// every part that a service has besides, until it has all that can be had here.
func TestAnotherServiceNeedsItsParts(t *testing.T) {
	grafana := services.Service{
		Name: "grafana", Title: "Grafana", Kind: services.Stack, HTTP: services.HTTP{Port: 3001, Health: "/"},
		Ports: []services.Port{{Port: 3001, Protocols: []string{"tcp"}, Reach: services.Network, About: "page"}},
	}
	const (
		noCompose = "configs/rootfs/cubeos/coreapps/grafana/appconfig/docker-compose.yml is missing or empty"
		noImage   = "skopeo/images.txt: it has no line `grafana REFERENCE`"
		noStandIn = "there is no stand-in for the service grafana: add one to ./magefiles/internal/lab/standin"
	)
	c := newCheckout(t)
	for _, profile := range []string{"pios", "lab", "lab-full"} {
		if _, err := c.services(profile); err != nil {
			t.Fatalf("%s, as it is: %v", profile, err)
		}
	}
	missing := func(profile string, want ...string) {
		t.Helper()
		_, err := c.services(profile)
		if err == nil {
			t.Fatalf("%s: nothing is missing, want %q", profile, want)
		}
		for _, part := range []string{noCompose, noImage, noStandIn} {
			if told := strings.Contains(err.Error(), part); told != slices.Contains(want, part) {
				t.Errorf("%s: got\n%v\nand in it %q: %t", profile, err, part, told)
			}
		}
	}
	c.add(grafana)
	missing("pios", noCompose, noImage)
	missing("lab", noCompose, noImage, noStandIn)
	c.edit("configs/rootfs/cubeos/coreapps/grafana/appconfig/docker-compose.yml", appends("services:\n"))
	missing("lab", noImage, noStandIn)
	c.edit("skopeo/images.txt", appends("grafana docker.io/grafana/grafana:12.0.0\n"))
	missing("lab", noStandIn)
	if list, err := c.services("pios"); err != nil || !slices.Contains(list.Names(), "grafana") {
		t.Errorf("with all that it needs there: %v, %v", list.Names(), err)
	}
}

func TestAnOptionalServiceIsForWhoAsks(t *testing.T) {
	c := newCheckout(t)
	for profile, has := range map[string]bool{"pios": false, "lab": false, "lab-full": true} {
		list, err := c.services(profile)
		if err != nil || slices.Contains(list.Names(), "registry") != has {
			t.Errorf("%s: %v, %v; want the registry in it: %t", profile, list.Names(), err, has)
		}
	}
}

// TestServicesAreRefusedWithTheRecipe wants what is wrong with services to be told
// with all else that is wrong with the recipe.
func TestServicesAreRefusedWithTheRecipe(t *testing.T) {
	c := newCheckout(t)
	c.edit("packer/lab-full.pkrvars.hcl", func(old string) string {
		return strings.Replace(old, `["registry"]`, `["registry", "nosuch", "pihole"]`, 1)
	})
	c.edit("skopeo/images.txt", func(old string) string { return strings.Replace(old, "\nnpm ", "\nnginx ", 1) })
	b := newBuild(t, "lab-full", "1.2.3")
	b.Root, b.Refresh = c.root, "nosuch-provisioner"
	err := b.load()
	for _, want := range []string{
		"on packer/lab-full.pkrvars.hcl line 13", `"nosuch" is no optional service`, `"pihole" is no optional service`,
		"skopeo/images.txt:13: nginx is no service", "skopeo/images.txt: it has no line `npm REFERENCE`",
		"nosuch-provisioner",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %q", err, want)
		}
	}
}
