package scenario

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
	"github.com/cubeos-app/releases/magefiles/internal/device/services"
)

const repo = "../../../.."

// everyService is the list of the repository, the optional ones included.
func everyService(t *testing.T) services.List {
	t.Helper()
	l, err := services.Read(repo)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func all(t *testing.T, l services.List) []boottest.Scenario {
	t.Helper()
	scenarios, err := All(l)
	if err != nil {
		t.Fatal(err)
	}
	return scenarios
}

func TestEveryScenarioIsComplete(t *testing.T) {
	usual, err := everyService(t).For(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []services.List{everyService(t), usual} {
		complete(t, all(t, l))
	}
}

func complete(t *testing.T, scenarios []boottest.Scenario) {
	t.Helper()
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	taken := map[string]bool{Every: true, core: true, "raw": true, "machines": true, "snapshots": true, "lock": true}
	for _, sc := range scenarios {
		if !name.MatchString(sc.Name) || taken[sc.Name] || sc.About == "" || len(sc.Phases) == 0 {
			t.Errorf("%q: %q, %d phases: a scenario needs a name of its own in kebab-case, a sentence and a phase", sc.Name, sc.About, len(sc.Phases))
		}
		taken[sc.Name] = true
		if sc.From == boottest.Running && (sc.Device.Customise != nil || sc.Device.CardSize != 0 || sc.Device.MemoryMiB != 0) {
			t.Errorf("%s: a device that runs already cannot be another one", sc.Name)
		}
		for _, p := range sc.Phases {
			seen := map[string]bool{}
			for _, c := range p.Checks {
				if c.Name == "" || c.Bound <= 0 || c.Asserts == "" || c.Ask == nil {
					t.Errorf("%s: %s: %s: incomplete", sc.Name, p.Name, c.Name)
				}
				if seen[c.Name] {
					t.Errorf("%s: %s: two checks are called %s", sc.Name, p.Name, c.Name)
				}
				seen[c.Name] = true
			}
		}
	}
}

func TestNamed(t *testing.T) {
	l := everyService(t)
	everything, err := Named("all", l)
	if err != nil || len(everything) != len(all(t, l)) {
		t.Errorf("all: %d of %d, %v", len(everything), len(all(t, l)), err)
	}
	some, err := Named("core", l)
	if err != nil || len(some) == 0 || len(some) >= len(everything) {
		t.Errorf("core: %d of %d, %v", len(some), len(everything), err)
	}
	one, err := Named("operational,operational", l)
	if err != nil || len(one) != 1 || one[0].Name != Default {
		t.Errorf("got %v, %v", one, err)
	}
	_, err = Named("operational,opperational,,x", l)
	if err == nil || strings.Count(err.Error(), "no scenario is called") != 3 || !strings.Contains(err.Error(), "power-cuts") {
		t.Errorf("three unknown names: %v", err)
	}
}

func TestServicesThatScenariosAreAboutHaveToBeThere(t *testing.T) {
	l := slices.DeleteFunc(everyService(t), func(s services.Service) bool { return s.Name == hal || s.Name == proxy })
	_, err := All(l)
	for _, want := range []string{hal, proxy, services.File} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestAnotherServiceIsCheckedEverywhere wants a row of the list to be all that a
// service needs to be looked for.
func TestAnotherServiceIsCheckedEverywhere(t *testing.T) {
	grafana := services.Service{
		Name: "grafana", Title: "Grafana", Kind: services.Stack, HTTP: services.HTTP{Port: 3000, Health: "/api/health", Names: []string{"grafana.{domain}"}},
		Ports: []services.Port{
			{Port: 3000, Protocols: []string{"tcp"}, Reach: services.Network},
			{Port: 9090, Protocols: []string{"tcp"}, Reach: services.Device},
			{Port: 9091, Protocols: []string{"tcp"}, Reach: services.Blocked},
		},
	}
	before, after := everyService(t), append(everyService(t), grafana)
	for _, tt := range []struct {
		of   string
		make func(services.List) []boottest.Check
		want []string
	}{
		{"healthy", healthy, []string{"stack grafana", "Grafana, port 3000", "Grafana, port 9090", "Grafana, port 9090, from outside", "Grafana, port 9091", "Grafana, port 9091, from outside"}},
		{"names", named, []string{"http://grafana.cubeos.cube"}},
		{"client", clientIsServed, []string{"Grafana, port 3000", "Grafana, port 9090", "Grafana, port 9091"}},
		{"seen from outside", func(l services.List) []boottest.Check {
			return withoutLogin(l, "x", "x", boottest.Device{}, boottest.Check{}).Phases[0].Checks
		}, []string{"Grafana, port 3000"}},
	} {
		had := checkNames(tt.make(before))
		got := slices.DeleteFunc(checkNames(tt.make(after)), func(name string) bool { return slices.Contains(had, name) })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: checks that the service adds (-want +got):\n%s", tt.of, diff)
		}
	}
	if got := repairs(after, hal); !strings.Contains(got, `|stack grafana is lost|http://grafana\.cubeos\.cube leads`) || strings.Contains(got, hal) {
		t.Errorf("what must not be repaired is %s", got)
	}
	want := []string{"tcp * 3000 grafana_grafana", "tcp 127.0.0.1 9090 grafana_grafana", "tcp * 9091 grafana_grafana"}
	if diff := cmp.Diff(want, serviceSockets(services.List{grafana})); diff != "" {
		t.Errorf("sockets (-want +got):\n%s", diff)
	}
}

func checkNames(checks []boottest.Check) []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.Name)
	}
	return names
}
