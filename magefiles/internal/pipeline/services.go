package pipeline

import (
	"errors"
	"path/filepath"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/lab"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
)

func imagesList(root string) string { return filepath.Join(root, "skopeo", "images.txt") }

// profileServices returns the services that a recipe puts on a device. The error
// names everything in the checkout that does not go with the list of services.
func profileServices(root string, r *recipe.Recipe, standIns bool) (services.List, error) {
	const optional = "optional_services"
	v := r.Variables()
	asked := v.Strings(optional)
	if err := v.Err(); err != nil {
		return nil, err
	}
	all, err := services.Read(root)
	if err != nil {
		return nil, err
	}
	problems := []error{all.CheckFiles(root), containerimage.CheckNames(imagesList(root), all.Names(), services.File)}
	list, err := all.For(asked)
	if err != nil {
		problems = append(problems, r.Refuse(recipe.Problem{At: r.VariableAt(optional), Summary: "Unknown services", Detail: err.Error()}))
	}
	if standIns {
		problems = append(problems, lab.CheckServices(list))
	}
	return list, errors.Join(problems...)
}
