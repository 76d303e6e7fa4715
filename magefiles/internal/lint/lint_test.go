package lint

import (
	"slices"
	"strings"
	"testing"
)

func TestEverythingIsFound(t *testing.T) {
	t.Chdir("../../..")
	scripts, err := shellScripts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".ci/run", "configs/rootfs/usr/local/sbin/locale-gen", "firstboot/lib.sh", "packer/scripts/lib.sh"} {
		if !slices.Contains(scripts, want) {
			t.Errorf("%s is not checked; found were %v", want, scripts)
		}
	}
	recipes, err := recipeFiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"packer/cubeos.pkr.hcl", "packer/lab.pkrvars.hcl"} {
		if !slices.Contains(recipes, want) {
			t.Errorf("%s is not checked; found were %v", want, recipes)
		}
	}
}

func TestMustBeSilent(t *testing.T) {
	if err := mustBeSilent(t.Context(), "true"); err != nil {
		t.Error(err)
	}
	if err := mustBeSilent(t.Context(), "echo", "a finding"); err == nil || !strings.Contains(err.Error(), "a finding") {
		t.Errorf("got %v, want what was listed", err)
	}
}
