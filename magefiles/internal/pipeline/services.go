package pipeline

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/lab"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
)

func imagesList(root string) string { return filepath.Join(root, "skopeo", "images.txt") }

// profileServices returns the services that a recipe puts on a device. The error
// names everything in the checkout that does not go with the list of services.
func profileServices(root string, v *recipe.Values, standIns bool) (services.List, error) {
	all, err := services.Read(root)
	if err != nil {
		return nil, err
	}
	problems := []error{all.CheckFiles(root), containerimage.CheckNames(imagesList(root), all.Names(), services.File)}
	list, err := all.For(v.Strings("optional_services"))
	if err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", v.From("optional_services"), err))
	}
	if standIns {
		problems = append(problems, lab.CheckServices(list))
	}
	return list, errors.Join(problems...)
}
