package scenario

import (
	"regexp"
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/boottest"
)

func TestEveryScenarioIsComplete(t *testing.T) {
	name := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	taken := map[string]bool{every: true, core: true, "raw": true, "machines": true, "snapshots": true, "lock": true}
	for _, sc := range All() {
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
	everything, err := Named("all")
	if err != nil || len(everything) != len(All()) {
		t.Errorf("all: %d of %d, %v", len(everything), len(All()), err)
	}
	some, err := Named("core")
	if err != nil || len(some) == 0 || len(some) >= len(everything) {
		t.Errorf("core: %d of %d, %v", len(some), len(everything), err)
	}
	one, err := Named("operational,operational")
	if err != nil || len(one) != 1 || one[0].Name != "operational" {
		t.Errorf("got %v, %v", one, err)
	}
	_, err = Named("operational,opperational,,x")
	if err == nil || strings.Count(err.Error(), "no scenario is called") != 3 || !strings.Contains(err.Error(), "power-cuts") {
		t.Errorf("three unknown names: %v", err)
	}
}
