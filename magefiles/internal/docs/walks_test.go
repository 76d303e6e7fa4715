package docs

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/device/services"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/containerimage"
)

const contributing = "CONTRIBUTING.md"

// TestWalkOfAService wants every service to have what the walk says it needs.
func TestWalkOfAService(t *testing.T) {
	walk := below(snippets(t), contributing, "Add a service")
	list, err := services.Read(repository)
	if err != nil {
		t.Fatal(err)
	}
	images, err := containerimage.ReadList(filepath.Join(repository, "skopeo/images.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var named, fields []string
	for _, s := range walk {
		named = append(named, paths(s.text)...)
		fields = append(fields, s.text)
	}
	if !slices.Contains(named, services.File) {
		t.Errorf("it does not name %s", services.File)
	}
	for _, service := range list {
		for _, path := range named {
			if _, err := match(strings.ReplaceAll(path, "*", service.Name)); err != nil && strings.Contains(path, "*") {
				t.Errorf("%s: %v", service.Name, err)
			}
		}
		if !slices.ContainsFunc(images, func(e containerimage.Entry) bool { return e.Name == service.Name }) {
			t.Errorf("%s has no line in skopeo/images.txt", service.Name)
		}
	}
	if _, ok := list.Named("registry"); !ok {
		t.Error("there is no registry to follow")
	}
	for column := range reflect.TypeFor[services.Service]().Fields() {
		field, _, _ := strings.Cut(column.Tag.Get("json"), ",")
		if !slices.Contains(fields, field) {
			t.Errorf("it does not explain the field %s", field)
		}
	}
}

// TestWalkOfAProvisioner wants the recipe to be as the walk describes it.
func TestWalkOfAProvisioner(t *testing.T) {
	const option, provisioner = "unattended_upgrades", "base-setup"
	named := below(snippets(t), contributing, "Add a provisioner with an option")
	for _, name := range []string{option, provisioner} {
		if !slices.ContainsFunc(named, func(s snippet) bool { return s.text == name }) {
			t.Errorf("it does not name %s", name)
		}
	}
	r, err := recipe.LoadProfile(repository, "lab", map[string]string{"version": "1.2.3", option: "true"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range r.Provisioners {
		for _, script := range p.Scripts {
			got = append(got, filepath.Base(script))
			if want := fmt.Sprintf("%02d-%s.sh", len(got), p.Name); filepath.Base(script) != want {
				t.Errorf("the provisioner %s runs %s, not %s", p.Name, filepath.Base(script), want)
			}
		}
		if p.Name == provisioner && !slices.Contains(p.Env, "CUBEOS_UNATTENDED_UPGRADES=true") {
			t.Errorf("%s is not given %s: %q", provisioner, option, p.Env)
		}
	}
	files, err := filepath.Glob(filepath.Join(repository, "packer/scripts/[0-9][0-9]-*.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		files[i] = filepath.Base(file)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("packer/scripts (-), the recipe (+):\n%s", diff)
	}
	if last := r.Provisioners[len(r.Provisioners)-1].Name; last != "cleanup" {
		t.Errorf("the last provisioner is %s, not cleanup", last)
	}
}
