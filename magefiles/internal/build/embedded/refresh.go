package embedded

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cubeos-app/releases/magefiles/internal/recipe"
)

// RefreshBase is the name under which the base image is made again, and with it
// everything.
const RefreshBase = "base"

// beforeAll stands for the base image where a provisioner is counted.
const beforeAll = -1

// CheckRefresh returns an error that lists the names if name is none: a
// provisioner's label or the name of its script, with or without the number in
// front, or RefreshBase. The empty name is right, too.
func CheckRefresh(r *recipe.Recipe, name string) error {
	_, err := refreshFrom(r.Provisioners, name)
	return err
}

// refreshFrom returns which provisioner is the first that name stands for.
func refreshFrom(provisioners []recipe.Provisioner, name string) (int, error) {
	switch name {
	case "":
		return len(provisioners), nil
	case RefreshBase:
		return beforeAll, nil
	}
	names := []string{RefreshBase}
	for i, p := range provisioners {
		names = append(names, p.Label())
		if p.Label() == name {
			return i, nil
		}
	}
	for i, p := range provisioners {
		for _, script := range p.Scripts {
			base := strings.TrimSuffix(filepath.Base(script), filepath.Ext(script))
			if name == base || name == withoutNumber(base) {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("no provisioner is called %q, to refresh from there on; there are: %s", name, strings.Join(names, ", "))
}

var number = regexp.MustCompile(`^[0-9]+[-_]`)

func withoutNumber(name string) string { return number.ReplaceAllString(name, "") }
